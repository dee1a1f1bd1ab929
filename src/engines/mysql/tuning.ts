/** Parameters from memory, CPU and storage; see mysql-family/tuning.ts for the formulas. */
import type {ParameterValues} from '../../core/instance/instance.js'
import type {InstanceSize} from '../../core/instance/sizes.js'
import {
  binlogFile, binlogSeconds, bufferPool, clamp, connections, cores, defaultConnections, GIB, ioCapacity, mebibytes, MIB, openTables,
  redoCapacity, temporaryTable, threadCache,
} from '../mysql-family/tuning.js'

/** What the server takes beside the buffer pool: 9.7 with the values below, measured, some 240 MiB; the rest by connection. */
const reserved = (size: InstanceSize, maxConnections: number): number =>
  (size.memory_bytes < GIB ? 256 : 320) * MIB + maxConnections * MIB

/** The storage engine rounds up to whole chunks in each of its instances; both are given, so that nothing is rounded. */
function poolSizes(size: InstanceSize, maxConnections: number): ParameterValues {
  const wanted = bufferPool(size, reserved(size, maxConnections))
  // as many as there are whole gibibytes, at most 8 (MySQL's own before 9), and no more than cores
  const instances = clamp(Math.floor(wanted / GIB), 1, Math.min(8, cores(size)))
  const chunk = wanted >= GIB ? 128 * MIB : 16 * MIB
  const pool = Math.max(1, Math.floor(wanted / (chunk * instances))) * chunk * instances
  return {
    innodb_buffer_pool_size: mebibytes(pool),
    innodb_buffer_pool_chunk_size: mebibytes(chunk),
    innodb_buffer_pool_instances: String(instances),
  }
}

/** By itself the performance schema takes 140 to 230 MiB, most of it for users, hosts and accounts that are not there. */
function performanceSchema(size: InstanceSize, maxConnections: number): ParameterValues {
  if (size.memory_bytes >= 4 * GIB) return {}
  const who = size.memory_bytes < GIB ? '16' : '32'
  return {
    performance_schema_accounts_size: who,
    performance_schema_hosts_size: who,
    performance_schema_users_size: who,
    // beside the connections' threads some fifty of the server's own
    performance_schema_max_thread_instances: String(maxConnections + 80),
    performance_schema_error_size: '0',
    ...(size.memory_bytes < GIB ? {performance_schema_digests_size: '1000', performance_schema_max_memory_classes: '0'} : {}),
  }
}

/** Buffers and connections for a workload; templates set them anew. */
export function sized(size: InstanceSize, maxConnections: number): ParameterValues {
  return {
    max_connections: String(maxConnections),
    thread_cache_size: String(threadCache(maxConnections)),
    ...poolSizes(size, maxConnections),
    ...performanceSchema(size, maxConnections),
  }
}

/** Every value is valid for the server of `version`, for every size that core allows. */
export function fromSize(size: InstanceSize, _version: string): ParameterValues {
  const tables = openTables(size, 4000)
  return {
    ...sized(size, connections(size, defaultConnections(size))),
    innodb_redo_log_capacity: mebibytes(redoCapacity(size)),
    innodb_log_buffer_size: mebibytes(clamp(size.memory_bytes / 64, 8 * MIB, 64 * MIB)),
    innodb_io_capacity: String(ioCapacity(size)),
    innodb_io_capacity_max: String(2 * ioCapacity(size)),
    table_open_cache: String(tables),
    table_definition_cache: String(Math.min(2000, 400 + Math.floor(tables / 2))),
    tmp_table_size: mebibytes(temporaryTable(size)),
    max_heap_table_size: mebibytes(temporaryTable(size)),
    temptable_max_ram: mebibytes(clamp(size.memory_bytes / 16, 8 * MIB, GIB)),
    max_binlog_size: mebibytes(binlogFile(size)),
    binlog_expire_logs_seconds: String(binlogSeconds(size)),
    // our own: an unseen slow statement or a pile of deadlocks costs more than the lines that tell of it
    long_query_time: '1',
    innodb_print_all_deadlocks: 'ON',
  }
}
