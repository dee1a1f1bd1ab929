/** What MySQL decides about values beyond what its catalogue says. */
import {isPowerOfTwo, numberOf, roundedToPowerOfTwo, tooFewOpenFiles} from '../mysql-family/preflight.js'
import type {PreflightRules} from '../mysql-family/preflight.js'
import type {ValueRules} from '../mysql-family/values.js'

/** Judged together with others, by the machine, or by more than a range. */
const asked = new Set([
  'max_connections',
  'innodb_max_dirty_pages_pct',
  'innodb_max_dirty_pages_pct_lwm',
  'table_open_cache',
  'open_files_limit',
  'innodb_open_files',
  'innodb_buffer_pool_size',
  'innodb_buffer_pool_chunk_size',
  'innodb_buffer_pool_instances',
  'innodb_page_cleaners',
  'innodb_io_capacity',
  'innodb_io_capacity_max',
  'innodb_ft_sort_pll_degree',
  'innodb_log_write_ahead_size',
])

export const valueRules: ValueRules = {
  asks: (name) => asked.has(name),
}

export const preflightRules: PreflightRules = {
  judgedByStart: {
    default_storage_engine: /^InnoDB$/i,
    default_tmp_storage_engine: /^InnoDB$/i,
    time_zone: /^SYSTEM$/i,
    lc_messages: /^en_US$/i,
    lc_time_names: /^en_US$/i,
  },

  adjustedAtStart(effective) {
    const of = (option: string): number => numberOf(effective, option)
    const [pool, chunk, instances] = [of('innodb_buffer_pool_size'), of('innodb_buffer_pool_chunk_size'), of('innodb_buffer_pool_instances')]
    const block = chunk * Math.max(1, instances)
    return {
      sql_mode: /NOT_USED_/.test(effective.get('sql_mode') ?? '') ? 'some of its bits are no mode any more' : undefined,
      innodb_max_dirty_pages_pct_lwm:
        Number(effective.get('innodb_max_dirty_pages_pct_lwm')) > Number(effective.get('innodb_max_dirty_pages_pct'))
          ? `the server would not exceed innodb_max_dirty_pages_pct (${effective.get('innodb_max_dirty_pages_pct')})`
          : undefined,
      innodb_buffer_pool_size:
        pool % block === 0
          ? undefined
          : `the server would round it up to a multiple of innodb_buffer_pool_chunk_size * innodb_buffer_pool_instances (${block}); the nearest are ${Math.floor(pool / block) * block} and ${Math.ceil(pool / block) * block}`,
      innodb_log_write_ahead_size: isPowerOfTwo(of('innodb_log_write_ahead_size')) ? undefined : 'the storage engine takes a power of two alone',
      innodb_open_files: tooFewOpenFiles(of('innodb_open_files')),
      innodb_ft_sort_pll_degree: roundedToPowerOfTwo(of('innodb_ft_sort_pll_degree')),
      innodb_page_cleaners:
        of('innodb_page_cleaners') > Math.max(1, instances)
          ? `the server would have no more of them than innodb_buffer_pool_instances (${instances})`
          : undefined,
      innodb_io_capacity:
        of('innodb_io_capacity') > of('innodb_io_capacity_max')
          ? `the server would not exceed innodb_io_capacity_max (${of('innodb_io_capacity_max')})`
          : undefined,
    }
  },
}
