/** Built-in configuration templates: what they set on top of what the size gives. */
import type {EngineConfig} from '../engine.js'
import {connections, cores, maintenanceMemory, megabytes, walSizes, workMemory} from './tuning.js'

const GIB = 1024 ** 3

export const templates: EngineConfig['templates'] = {
  dev: {
    description:
      'Development: shows slow statements, waits and spills early, forgives no forgotten transaction, keeps little log',
    parameters: (size) => ({
      ...walSizes(size, GIB),
      log_min_duration_statement: '250ms',
      log_temp_files: '0',
      log_lock_waits: 'on',
      deadlock_timeout: '200ms',
      track_functions: 'all',
      idle_in_transaction_session_timeout: '1min',
    }),
  },
  oltp: {
    description: 'Many short transactions: more connections, longer between checkpoints, eager autovacuum',
    parameters: (size) => {
      const maxConnections = connections(size, 300)
      return {
        max_connections: String(maxConnections),
        work_mem: workMemory(size, maxConnections),
        ...walSizes(size, 8 * GIB),
        checkpoint_timeout: '15min',
        random_page_cost: '1.1',
        jit: 'off',
        autovacuum_naptime: '10s',
        autovacuum_vacuum_scale_factor: '0.05',
        autovacuum_analyze_scale_factor: '0.02',
      }
    },
  },
  analytics: {
    description: 'Few large queries: fewer connections, memory and workers for each, finer statistics',
    parameters: (size) => {
      const maxConnections = connections(size, 40)
      return {
        max_connections: String(maxConnections),
        work_mem: workMemory(size, maxConnections, 2),
        maintenance_work_mem: megabytes(maintenanceMemory(size, 8)),
        ...walSizes(size, 16 * GIB),
        checkpoint_timeout: '30min',
        default_statistics_target: '500',
        max_parallel_workers_per_gather: String(Math.ceil(cores(size) / 2)),
        enable_partitionwise_join: 'on',
        enable_partitionwise_aggregate: 'on',
        jit: 'on',
        log_min_duration_statement: '10s',
      }
    },
  },
}
