/** What MariaDB decides about values beyond what its catalogue says. */
import {isPowerOfTwo, numberOf, roundedToPowerOfTwo, tooFewOpenFiles} from '../mysql-family/preflight.js'
import type {PreflightRules} from '../mysql-family/preflight.js'
import type {ValueRules} from '../mysql-family/values.js'

/** Judged together with others, by the machine, or by more than a range. */
const asked = new Set([
  'max_connections',
  'query_cache_size',
  'query_cache_min_res_unit',
  'innodb_max_undo_log_size',
  'innodb_max_dirty_pages_pct',
  'innodb_max_dirty_pages_pct_lwm',
  'thread_cache_size',
  'table_open_cache',
  'table_open_cache_instances',
  'open_files_limit',
  'innodb_open_files',
  'innodb_buffer_pool_size',
  'innodb_buffer_pool_size_max',
  'innodb_buffer_pool_size_auto_min',
  'innodb_io_capacity',
  'innodb_io_capacity_max',
  'innodb_compression_algorithm',
  'innodb_ft_sort_pll_degree',
  'innodb_log_write_ahead_size',
  'innodb_log_file_size',
  'event_scheduler',
  'max_session_mem_used',
])

export const valueRules: ValueRules = {
  asks: (name) => asked.has(name),
  whyNot: (name, value) =>
    name === 'log_slow_filter' && value.trim() === '' ? 'a server that starts takes it for all of them, and one that runs for none: name those that are wanted' : undefined,
}

/** SRV_MAX_IO_CAPACITY_DUMMY_DEFAULT, the largest number of 32 bits. */
const unsetCapacity = 2 ** 32 - 1

const leastQueryUnit = 512

/** What the cache needs for its own tables. */
const leastQueryCache = 40_960

export const preflightRules: PreflightRules = {
  judgedByStart: {
    default_storage_engine: /^InnoDB$/i,
    default_tmp_storage_engine: /^InnoDB$/i,
    enforce_storage_engine: /^InnoDB$/i,
    time_zone: /^SYSTEM$/i,
    lc_messages: /^en_US$/i,
    lc_time_names: /^en_US$/i,
    // the others are libraries that an installation has or has not
    innodb_compression_algorithm: /^(none|zlib|[01])$/i,
    // where it is too little for the server's own sessions, the server does not come up
    max_session_mem_used: /^\d{8,}$|^\d+[mgtpe]/i,
  },

  adjustedAtStart(effective) {
    const of = (option: string): number => numberOf(effective, option)
    const [degree, ahead] = [of('innodb_ft_sort_pll_degree'), of('innodb_log_write_ahead_size')]
    return {
      query_cache_size:
        of('query_cache_size') > 0 && of('query_cache_size') < leastQueryCache
          ? `the server would have none: it takes at least ${leastQueryCache} bytes for itself, or 0`
          : undefined,
      innodb_max_undo_log_size:
        of('innodb_max_undo_log_size') > 2 ** 32 * of('innodb_page_size')
          ? `a tablespace has at most 4294967296 pages: ${2 ** 32 * of('innodb_page_size')} bytes`
          : undefined,
      innodb_max_dirty_pages_pct_lwm:
        Number(effective.get('innodb_max_dirty_pages_pct_lwm')) > Number(effective.get('innodb_max_dirty_pages_pct'))
          ? `the server would not exceed innodb_max_dirty_pages_pct (${effective.get('innodb_max_dirty_pages_pct')})`
          : undefined,
      innodb_buffer_pool_size_max:
        of('innodb_buffer_pool_size_max') > 0 && of('innodb_buffer_pool_size_max') < of('innodb_buffer_pool_size')
          ? `the server would raise it to innodb_buffer_pool_size (${of('innodb_buffer_pool_size')})`
          : undefined,
      innodb_io_capacity:
        of('innodb_io_capacity') > of('innodb_io_capacity_max')
          ? `the server would not exceed innodb_io_capacity_max (${of('innodb_io_capacity_max')})`
          : undefined,
      innodb_log_file_size:
        of('innodb_log_file_size') < of('innodb_log_buffer_size')
          ? `a running server takes no less than innodb_log_buffer_size (${of('innodb_log_buffer_size')})`
          : undefined,
      innodb_open_files: tooFewOpenFiles(of('innodb_open_files')),
      innodb_buffer_pool_size_auto_min: of('innodb_buffer_pool_size_auto_min') === 0 ? 'the server would make it innodb_buffer_pool_size_max' : undefined,
      innodb_io_capacity_max: of('innodb_io_capacity_max') === unsetCapacity ? 'the server takes it for no value at all, and chooses one by itself' : undefined,
      query_cache_min_res_unit: of('query_cache_min_res_unit') < leastQueryUnit ? `a running server would make it ${leastQueryUnit}` : undefined,
      thread_cache_size:
        of('thread_cache_size') > of('max_connections') ? `the server would not exceed max_connections (${of('max_connections')})` : undefined,
      innodb_ft_sort_pll_degree: roundedToPowerOfTwo(degree),
      innodb_log_write_ahead_size: isPowerOfTwo(ahead) ? undefined : 'the storage engine takes a power of two alone',
      event_scheduler: effective.get('event_scheduler') === 'ORIGINAL' ? 'it is a word of the server\'s own, which would be OFF' : undefined,
    }
  },
}
