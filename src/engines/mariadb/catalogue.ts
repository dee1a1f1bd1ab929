/** information_schema.system_variables: MariaDB tells everything about its variables itself. */
import type {ParameterDefinition} from '../../core/config/parameters.js'
import type {Described, Describer} from '../mysql-family/catalogue.js'
import {optionOf} from '../mysql-family/options.js'

interface Row {
  name: string
  type: string
  min: string | null
  max: string | null
  step: string | null
  words: string | null
  boot: string | null
  description: string
  fixed_at_start: string
}

const types: Readonly<Record<string, ParameterDefinition['type']>> = {
  BOOLEAN: 'bool',
  DOUBLE: 'real',
  ENUM: 'enum',
  SET: 'string',
  FLAGSET: 'string',
  VARCHAR: 'string',
}

export const describer: Describer = {
  async outline(client, help) {
    const rows = await client.query<Row>(`
      select lower(variable_name) as name, variable_type as type, numeric_min_value as min, numeric_max_value as max,
        numeric_block_size as step, enum_value_list as words, default_value as boot, variable_comment as description,
        read_only as fixed_at_start
      from information_schema.system_variables where variable_scope <> 'SESSION ONLY'`)
    return rows.map((row): Described => {
      // names of character sets and locales are enumerations to the server that it has no list of
      const type = row.type === 'ENUM' && row.words === null ? 'string' : (types[row.type] ?? 'integer')
      const listed = row.type === 'ENUM' || row.type === 'SET'
      const settable = optionOf(row.name, (option) => help.options.has(option)) !== undefined
      return {
        name: row.name,
        type,
        unit: null,
        min: row.min,
        max: row.max,
        ...(row.step === null || Number(row.step) <= 1 ? {} : {step: row.step}),
        values: listed && row.words !== null ? row.words.split(',') : null,
        default: row.boot,
        description: row.description === '' ? 'MariaDB does not describe it.' : row.description,
        requires: !settable ? 'fixed' : row.fixed_at_start === 'YES' ? 'restart' : 'reload',
      }
    })
  },
  complete: (_host, outline) => Promise.resolve([...outline]),
}
