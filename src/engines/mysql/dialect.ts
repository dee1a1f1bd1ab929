import type {Dialect} from '../mysql-family/dialect.js'
import {managedValues, ownDefaults} from './managed.js'
import {makeData, poolKey} from './initialise.js'
import {identifiedBy} from './password.js'

export const dialect: Dialect = {
  engine: 'mysql',
  title: 'MySQL',
  serverProgram: 'mysqld',

  adminSession: [
    "sql_mode = 'STRICT_ALL_TABLES'",
    'autocommit = 1',
    'transaction_read_only = 0',
    'max_execution_time = 0',
    'lock_wait_timeout = 10',
    'wait_timeout = 28800',
    'sql_safe_updates = 0',
    'sql_select_limit = 18446744073709551615',
    'sql_require_primary_key = 0',
    // what a user bounds for all sessions would refuse the agent's own questions
    'sql_big_selects = 1',
    // neither in the general log nor in the slow one
    'sql_log_off = 1',
    'long_query_time = 31536000',
  ].join(', '),

  globalVariables: `
    select lower(v.variable_name) as name, v.variable_value as value,
      case i.variable_source when 'COMPILED' then 'default' when 'DYNAMIC' then 'running' else 'configuration' end
        as origin
    from performance_schema.global_variables v
    join performance_schema.variables_info i using (variable_name)`,

  reloadTls: 'alter instance reload tls',

  managedValues,
  ownDefaults,
  poolKey,
  makeData,
  identifiedBy,
}
