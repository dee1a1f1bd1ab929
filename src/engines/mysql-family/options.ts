/** Names: of parameters as people write them, as the server's variables have them, and as options in its file. */

/** Variables whose option has another name, in servers that have no option of the variable's own name. */
const options: Readonly<Record<string, string>> = {
  time_zone: 'default_time_zone',
  tx_isolation: 'transaction_isolation',
  tx_read_only: 'transaction_read_only',
}

const variables: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(options).map(([variable, option]) => [option, variable]),
)

/** `Innodb-Buffer-Pool-Size` -> `innodb_buffer_pool_size`: the servers take both, in any case. */
export const canonicalName = (name: string): string => name.toLowerCase().replaceAll('-', '_')

/** How a variable is written in the file, when `has` says which options there are. */
export const optionOf = (variable: string, has: (option: string) => boolean): string | undefined => {
  if (has(variable)) return variable
  const other = options[variable]
  return other !== undefined && has(other) ? other : undefined
}

/** The variable that an option sets, when `has` says which variables there are; undefined where there is none. */
export const variableOf = (option: string, has: (variable: string) => boolean): string | undefined => {
  if (has(option)) return option
  const other = variables[option]
  return other !== undefined && has(other) ? other : undefined
}

/** Values by variable -> by what the file calls it, names spelled the one way. */
export const toOptions = (values: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(values).map(([name, value]) => {
      const canonical = canonicalName(name)
      return [options[canonical] ?? canonical, value]
    }),
  )

/** Second names of variables, in servers that have the first. */
const aliases: Readonly<Record<string, string>> = {
  // MySQL
  master_verify_checksum: 'source_verify_checksum',
  // MariaDB
  log_slow_query_time: 'long_query_time',
  log_slow_min_examined_row_limit: 'min_examined_row_limit',
  tmp_memory_table_size: 'tmp_table_size',
  alter_algorithm: 'old_alter_table',
  // of 11.x
  tx_isolation: 'transaction_isolation',
  tx_read_only: 'transaction_read_only',
}

/** The first name of a variable that has two; undefined of one that has one, or is called by its first. */
export const aliasOf = (name: string, has: (variable: string) => boolean): string | undefined => {
  const first = Object.hasOwn(aliases, name) ? aliases[name] : undefined
  return first !== undefined && has(first) ? first : undefined
}
