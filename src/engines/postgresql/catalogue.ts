/** The parameter catalogue: pg_settings of a running server, which is the server's own word on itself. */
import type {Catalogue, ParameterDefinition, ParameterReading} from '../../core/config/parameters.js'
import {DbaasError} from '../../core/errors.js'
import type {ParameterValues} from '../../core/instance/instance.js'
import type {AdminCredentials} from '../engine.js'
import type {Host} from '../host.js'
import {asAdmin} from './client.js'
import {whyManaged} from './managed.js'
import {sameValue} from './values.js'

interface SettingRow {
  name: string
  vartype: ParameterDefinition['type']
  unit: string | null
  min_val: string | null
  max_val: string | null
  enumvals: string[] | null
  boot_val: string | null
  category: string
  short_desc: string
  extra_desc: string | null
  context: string
}

/** Of one transaction: the server refuses them in its configuration, which pg_settings does not tell. */
const transactional = new Set(['transaction_isolation', 'transaction_read_only', 'transaction_deferrable'])

/** How a parameter of that context is changed (views.sgml, pg_settings.context). */
export function requires(name: string, context: string): ParameterDefinition['requires'] {
  if (context === 'internal' || transactional.has(name)) return 'fixed'
  return context === 'postmaster' ? 'restart' : 'reload'
}

function definitionOf(row: SettingRow): ParameterDefinition {
  // the server ignores the case of names; ours are lower case throughout, `TimeZone` too
  const name = row.name.toLowerCase()
  return {
    name,
    type: row.vartype,
    unit: row.unit,
    min: row.min_val,
    max: row.max_val,
    values: row.enumvals,
    default: row.boot_val,
    category: row.category,
    description: [row.short_desc, row.extra_desc].filter((text) => text !== null && text !== '').join(' '),
    requires: requires(name, row.context),
    managed: whyManaged(name),
  }
}

/** As EngineConfig.readCatalogue promises; sorted by name. */
export async function readCatalogue(host: Host, admin: AdminCredentials): Promise<Catalogue> {
  const rows = await asAdmin(
    host,
    admin,
    async (client) =>
      (
        await client.query<SettingRow>(`
    select name, vartype, unit, min_val, max_val, to_json(enumvals) as enumvals, boot_val, category,
      short_desc, extra_desc, context
    from pg_settings order by name`)
      ).rows,
  )
  return new Map(
    rows
      .map(definitionOf)
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map((definition) => [definition.name, definition]),
  )
}

interface ReadingRow extends SettingRow {
  value: string
  pending_restart: boolean
}

/** What the agent's session set for itself is not what other sessions get: for those, the files, else the default. */
const currentSettings = `
  select s.name, s.vartype, s.unit, s.min_val, s.max_val, to_json(s.enumvals) as enumvals, s.boot_val, s.category,
    s.short_desc, s.extra_desc, s.context, s.pending_restart,
    case when s.source in ('client', 'session')
      then coalesce(f.setting, s.boot_val, s.setting) else s.setting end as value
  from pg_settings s
  left join (
    select distinct on (lower(name)) lower(name) as name, setting
    from pg_file_settings where applied order by lower(name), seqno desc
  ) f on f.name = lower(s.name) and s.source in ('client', 'session')`

const readRows = (host: Host, admin: AdminCredentials): Promise<ReadingRow[]> =>
  asAdmin(host, admin, async (client) => (await client.query<ReadingRow>(currentSettings)).rows)

/** As EngineConfig.read promises. */
export async function readParameters(
  host: Host,
  admin: AdminCredentials,
  sources: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, ParameterReading>> {
  return new Map(
    (await readRows(host, admin)).map((row) => {
      const {name, unit, managed, ...definition} = definitionOf(row)
      return [
        name,
        {
          value: row.value,
          unit,
          source: managed === null ? (sources.get(name) ?? 'default') : 'managed',
          default: definition.default,
          requires: definition.requires,
          pendingRestart: row.pending_restart,
        },
      ]
    }),
  )
}

/** As EngineConfig.verify promises. */
export async function verifyParameters(host: Host, admin: AdminCredentials, asked: ParameterValues): Promise<void> {
  const rows = new Map((await readRows(host, admin)).map((row) => [row.name.toLowerCase(), row]))
  for (const [name, value] of Object.entries(asked)) {
    const row = rows.get(name.toLowerCase())
    if (row !== undefined && sameValue(definitionOf(row), value, row.value)) continue
    const read =
      row === undefined
        ? 'the server has no such parameter'
        : `the server has ${row.value}${row.unit === null ? '' : ` (in ${row.unit})`}`
    throw new DbaasError(
      'INVALID_PARAMETER_VALUE',
      `${name} was set to ${value}, but ${read}${row?.pending_restart ? ' until it is restarted' : ''}`,
      {
        details: {parameter: name, asked: value, ...(row === undefined ? {} : {read: row.value})},
        suggestions: row?.pending_restart
          ? ['dbaas restart NAME']
          : [`dbaas config unset NAME ${name}`, `dbaas config explain NAME ${name}`],
      },
    )
  }
}
