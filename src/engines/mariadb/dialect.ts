import type {Dialect} from '../mysql-family/dialect.js'
import {managedValues, ownDefaults} from './managed.js'
import {makeData, poolKey} from './initialise.js'
import {identifiedBy} from './password.js'

export const dialect: Dialect = {
  engine: 'mariadb',
  title: 'MariaDB',
  serverProgram: 'mariadbd',

  adminSession: [
    "sql_mode = 'STRICT_ALL_TABLES'",
    'autocommit = 1',
    'tx_read_only = 0',
    'max_statement_time = 0',
    'lock_wait_timeout = 10',
    'wait_timeout = 28800',
    'idle_transaction_timeout = 0',
    'sql_safe_updates = 0',
    'sql_select_limit = 18446744073709551615',
    // what a user bounds for all sessions would refuse the agent's own questions
    'sql_big_selects = 1',
    'tmp_disk_table_size = 18446744073709551615',
    // neither in the general log nor in the slow one
    'sql_log_off = 1',
    'slow_query_log = 0',
  ].join(', '),

  globalVariables: `
    select lower(variable_name) as name, global_value as value,
      case global_value_origin
        when 'COMPILE-TIME' then 'default' when 'AUTO' then 'default' when 'SQL' then 'running' else 'configuration' end
        as origin
    from information_schema.system_variables where variable_scope <> 'SESSION ONLY'`,

  reloadTls: 'flush local ssl',

  managedValues,
  ownDefaults,
  poolKey,
  makeData,
  identifiedBy,
}
