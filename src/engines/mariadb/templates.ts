/** Built-in configuration templates: what they set on top of what the size gives. */
import type {EngineConfig} from '../engine.js'
import {clamp, connections, GIB, kibibytes, mebibytes, MIB, redoCapacity} from '../mysql-family/tuning.js'
import {sized} from './tuning.js'

export const templates: EngineConfig['templates'] = {
  dev: {
    description: 'Development: shows slow statements early, waits for no lock for long, forgives no forgotten connection or transaction, keeps little log',
    parameters: () => ({
      long_query_time: '0.25',
      innodb_lock_wait_timeout: '10',
      lock_wait_timeout: '60',
      wait_timeout: '3600',
      interactive_timeout: '3600',
      idle_transaction_timeout: '60',
      innodb_print_all_deadlocks: 'ON',
      binlog_expire_logs_seconds: '86400',
    }),
  },
  oltp: {
    description: 'Many short transactions: more connections, more log between checkpoints, row locks given up early',
    parameters: (size) => ({
      ...sized(size, connections(size, 500)),
      innodb_log_file_size: mebibytes(redoCapacity(size, 8 * GIB)),
      innodb_lock_wait_timeout: '10',
      tx_isolation: 'READ-COMMITTED',
      innodb_autoinc_lock_mode: '2',
    }),
  },
  analytics: {
    description: 'Few large queries: fewer connections, memory for each to sort and join, finer statistics',
    parameters: (size) => {
      const each = clamp(size.memory_bytes / 512, MIB, 64 * MIB)
      return {
        ...sized(size, connections(size, 40)),
        innodb_log_file_size: mebibytes(redoCapacity(size, 16 * GIB)),
        sort_buffer_size: kibibytes(each),
        join_buffer_size: kibibytes(each),
        join_buffer_space_limit: kibibytes(each * 8),
        read_rnd_buffer_size: kibibytes(each / 2),
        tmp_table_size: mebibytes(clamp(size.memory_bytes / 32, 4 * MIB, 512 * MIB)),
        max_heap_table_size: mebibytes(clamp(size.memory_bytes / 32, 4 * MIB, 512 * MIB)),
        use_stat_tables: 'PREFERABLY',
        histogram_size: '254',
        innodb_stats_persistent_sample_pages: '100',
        group_concat_max_len: '1048576',
        long_query_time: '10',
      }
    },
  },
}
