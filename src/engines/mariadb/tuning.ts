/** Parameters from memory, CPU and storage; see mysql-family/tuning.ts for the formulas. */
import type {ParameterValues} from '../../core/instance/instance.js'
import type {InstanceSize} from '../../core/instance/sizes.js'
import {
  binlogFile, binlogSeconds, bufferPool, clamp, connections, defaultConnections, GIB, ioCapacity, mebibytes, MIB, openTables,
  redoCapacity, temporaryTable, threadCache,
} from '../mysql-family/tuning.js'
import {reaches} from '../mysql-family/series.js'

/** What the server takes beside the buffer pool: 10.11 with the values below, measured, some 120 MiB; the rest by connection. */
const reserved = (size: InstanceSize, maxConnections: number): number =>
  (size.memory_bytes < GIB ? 160 : 224) * MIB + maxConnections * MIB

/** Off by default, and agents measure by it; by itself it takes a hundred MiB for users, hosts and accounts that are not there. */
function performanceSchema(size: InstanceSize, maxConnections: number): ParameterValues {
  if (size.memory_bytes >= 4 * GIB) return {}
  const who = size.memory_bytes < GIB ? '16' : '32'
  return {
    performance_schema_accounts_size: who,
    performance_schema_hosts_size: who,
    performance_schema_users_size: who,
    performance_schema_max_thread_instances: String(maxConnections + 80),
    ...(size.memory_bytes < GIB ? {performance_schema_digests_size: '1000', performance_schema_max_memory_classes: '0'} : {}),
  }
}

/** Buffers and connections for a workload; templates set them anew. */
export function sized(size: InstanceSize, maxConnections: number): ParameterValues {
  return {
    max_connections: String(maxConnections),
    thread_cache_size: String(threadCache(maxConnections)),
    innodb_buffer_pool_size: mebibytes(bufferPool(size, reserved(size, maxConnections))),
    ...performanceSchema(size, maxConnections),
  }
}

/** Every value is valid for the server of `version`, for every size that core allows. */
export function fromSize(size: InstanceSize, version: string): ParameterValues {
  const tables = openTables(size, 2000)
  // the other engines' caches: system tables, and temporary ones on disk
  const other = mebibytes(clamp(size.memory_bytes / 64, 8 * MIB, 128 * MIB))
  return {
    ...sized(size, connections(size, defaultConnections(size))),
    innodb_log_file_size: mebibytes(redoCapacity(size)),
    innodb_log_buffer_size: mebibytes(clamp(size.memory_bytes / 64, 8 * MIB, 64 * MIB)),
    innodb_io_capacity: String(ioCapacity(size)),
    innodb_io_capacity_max: String(2 * ioCapacity(size)),
    key_buffer_size: mebibytes(8 * MIB),
    aria_pagecache_buffer_size: other,
    table_open_cache: String(tables),
    table_definition_cache: String(Math.min(2000, 400 + Math.floor(tables / 2))),
    tmp_table_size: mebibytes(temporaryTable(size)),
    max_heap_table_size: mebibytes(temporaryTable(size)),
    max_binlog_size: mebibytes(binlogFile(size)),
    binlog_expire_logs_seconds: String(binlogSeconds(size)),
    ...(reaches(version, '11.4') ? {max_binlog_total_size: mebibytes(size.storage_bytes / 5)} : {}),
    // our own: an unseen slow statement or a pile of deadlocks costs more than the lines that tell of it
    long_query_time: '1',
    log_slow_verbosity: 'query_plan,explain',
    innodb_print_all_deadlocks: 'ON',
  }
}
