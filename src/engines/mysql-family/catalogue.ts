/**
 * The parameter catalogue: what the server says of its own variables, and what its program says of the options that set
 * them. A variable without an option cannot be in the file: it is `fixed`.
 */
import type {Catalogue, ParameterDefinition, ParameterReading} from '../../core/config/parameters.js'
import {DbaasError} from '../../core/errors.js'
import type {ParameterValues} from '../../core/instance/instance.js'
import type {AdminCredentials, EngineConfig} from '../engine.js'
import type {Host} from '../host.js'
import type {AdminClient} from './client.js'
import {asAdmin} from './client.js'
import type {Dialect, Variable} from './dialect.js'
import {writtenParameters} from './files.js'
import type {Help} from './help.js'
import {plainHelp} from './help.js'
import {aliasOf, canonicalName, optionOf} from './options.js'
import type {Values} from './values.js'

/** What differs in how a server is asked about itself. */
export interface Describer {
  /** Everything that one run of the program and a few queries tell; `managed` and `category` are filled in by the caller. */
  outline(client: AdminClient, help: Help): Promise<Described[]>
  /** What takes many runs of the program: lists of words, steps, bounds that no table has. Starts from the outline. */
  complete(host: Host, outline: readonly ParameterDefinition[]): Promise<ParameterDefinition[]>
}

export type Described = Omit<ParameterDefinition, 'managed' | 'category'>

/** The server has no categories: the beginning of a name is one. The first that matches; else what it is of. */
const categories: readonly (readonly [RegExp, string])[] = [
  [/^innodb_ft_/, 'InnoDB / Full Text'],
  [/^innodb_buffer_pool/, 'InnoDB / Buffer Pool'],
  [/^innodb_(log|redo|undo|doublewrite|flush)/, 'InnoDB / Logs and Flushing'],
  [/^innodb_/, 'InnoDB'],
  [/^performance_schema/, 'Performance Schema'],
  [/^(myisam|key_|aria|concurrent_insert|delay_key)/, 'MyISAM and Aria'],
  [/^(binlog|log_bin|sync_binlog|max_binlog|expire_logs|gtid|encrypt_binlog|source_verify|master_verify)/, 'Binary Log'],
  [/^(replica|slave|rpl|relay|report_|wsrep|group_replication|sync_(relay|source|master)|init_(replica|slave)|clone_|terminology|rbr_)/, 'Replication'],
  [/^(ssl|tls|admin_ssl|admin_tls|require_secure)/, 'TLS'],
  [/^(slow|log|long_query|general_log|min_examined|audit|server_audit)/, 'Logging'],
  [/^(optimizer|eq_range|range_|histogram|use_stat|analyze_|join_|sort_buffer|max_seeks|windowing|explain|parser_)/, 'Optimizer'],
  [/^(query_cache|have_query_cache)/, 'Query Cache'],
  [/^(character|collation|lc_|default_collation)/, 'Character Sets and Locale'],
  [/^(connect|max_connect|max_user_conn|wait_timeout|interactive_timeout|net_|thread|back_log|skip_|host_cache|port|bind|max_allowed|proxy|extra_)/, 'Connections and Threads'],
  [/^(table_|tmp_|temptable|max_heap|open_files|big_tables|max_tmp|internal_tmp|stored_program|tablespace_def|schema_def)/, 'Tables and Caches'],
  [/^(password|authentication|caching_sha2|sha256|default_password|mandatory|partial|activate|validate|simple_pass|strict_pass|secure)/, 'Authentication'],
]
const categoryOf = (name: string): string => categories.find(([pattern]) => pattern.test(name))?.[1] ?? 'Server'

/**
 * Variables that a running server lets be set, but not from any value to any other, or without an effect: DISABLED of
 * the scheduler neither comes nor goes, the concurrency of commits does not change between none and some.
 */
const setAtStart = new Set(['event_scheduler', 'innodb_commit_concurrency', 'tcp_nodelay', 'thread_pool_size'])

const byName = (a: {name: string}, b: {name: string}): number => (a.name < b.name ? -1 : 1)

export interface CatalogueReader {
  readCatalogue: EngineConfig['readCatalogue']
  read: EngineConfig['read']
  verify: EngineConfig['verify']
}

export function createCatalogueReader(options: {
  dialect: Dialect
  describer: Describer
  values: Values
  whyManaged(name: string): string | null
}): CatalogueReader {
  const {dialect, describer, values, whyManaged} = options

  /** By programs and version: neither changes what it says of itself. */
  const outlines = new Map<string, Promise<{definitions: readonly ParameterDefinition[]; help: Help}>>()
  const complete = new Map<string, Promise<readonly ParameterDefinition[]>>()

  async function keyOf(client: AdminClient, host: Host): Promise<string> {
    const [row] = await client.query<{is: string}>("select concat(@@version, ' ', @@version_comment, ' ', @@hostname) as `is`")
    return `${host.paths.bin} ${row?.is}`
  }

  function once<T>(kept: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
    let promise = kept.get(key)
    if (!promise) {
      promise = make()
      kept.set(key, promise)
      promise.catch(() => kept.delete(key))
    }
    return promise
  }

  const outlineOf = (host: Host, client: AdminClient, key: string) =>
    once(outlines, key, async () => {
      const help = await plainHelp(host, dialect)
      const described = await describer.outline(client, help)
      const names = new Set(described.map(({name}) => name))
      const definitions = described.map((definition) => {
        // the names that MariaDB 11 has new ones for are those that 10 has alone
        const first = definition.name.startsWith('tx_') ? undefined : aliasOf(definition.name, (name) => names.has(name))
        return {
          ...definition,
          ...(definition.requires === 'reload' && setAtStart.has(definition.name) ? {requires: 'restart' as const} : {}),
          category: categoryOf(definition.name),
          managed: whyManaged(definition.name) ?? (first === undefined ? null : `it is another name of ${first}`),
        }
      })
      return {definitions: definitions.sort(byName), help}
    })

  const completeOf = (host: Host, client: AdminClient, key: string) =>
    once(complete, key, async () => {
      const {definitions} = await outlineOf(host, client, key)
      return describer.complete(host, definitions)
    })

  interface Current {
    readonly running: ReadonlyMap<string, Variable>
    readonly definitions: readonly ParameterDefinition[]
    readonly options: Help['options']
    /** With what takes long: lists of words, to compare one that is asked for by its number. */
    exactly(name: string): Promise<ParameterDefinition | undefined>
  }

  const current = <T>(host: Host, admin: AdminCredentials, use: (now: Current) => Promise<T>): Promise<T> =>
    asAdmin(dialect, host, admin, async (client) => {
      const key = await keyOf(client, host)
      const {definitions, help} = await outlineOf(host, client, key)
      const rows = await client.query<Variable>(dialect.globalVariables)
      return use({
        running: new Map(rows.map((row) => [row.name, row])),
        definitions,
        options: help.options,
        exactly: async (name) => (await completeOf(host, client, key)).find((definition) => definition.name === name),
      })
    })

  /** Whether the running value is the asked one; the long way only where the short one finds a difference. */
  async function runs(now: Current, definition: ParameterDefinition, asked: string, read: string): Promise<boolean> {
    if (values.sameValue(definition, asked, read)) return true
    if (definition.type !== 'string' && definition.type !== 'enum') return false
    const exact = await now.exactly(definition.name)
    return exact !== undefined && values.sameValue(exact, asked, read)
  }

  return {
    readCatalogue: (host, admin) =>
      asAdmin(dialect, host, admin, async (client): Promise<Catalogue> => {
        const definitions = await completeOf(host, client, await keyOf(client, host))
        return new Map(definitions.map((definition) => [definition.name, definition]))
      }),

    read: (host, admin, sources) =>
      current(host, admin, async (now) => {
        const written = await writtenParameters(host)
        const readings = new Map<string, ParameterReading>()
        for (const definition of now.definitions) {
          const variable = now.running.get(definition.name)
          if (!variable) continue
          const {name, unit, managed, requires} = definition
          const option = optionOf(name, (candidate) => now.options.has(candidate))
          const asked = option === undefined ? undefined : written.get(option)
          const value = variable.value ?? ''
          readings.set(name, {
            value,
            unit,
            source: managed === null ? (sources.get(name) ?? 'default') : 'managed',
            default: definition.default,
            requires,
            pendingRestart:
              requires === 'restart' &&
              managed === null &&
              (asked === undefined ? variable.origin === 'configuration' : !(await runs(now, definition, asked, value))),
          })
        }
        return readings
      }),

    verify: (host, admin, asked: ParameterValues) =>
      current(host, admin, async (now) => {
        const definitions = new Map(now.definitions.map((definition) => [definition.name, definition]))
        for (const [name, value] of Object.entries(asked)) {
          const definition = definitions.get(canonicalName(name))
          const read = definition && now.running.get(definition.name)
          if (definition && read && (await runs(now, definition, value, read.value ?? ''))) continue
          const waits = definition?.requires === 'restart'
          const words = read === undefined ? 'the server has no such parameter' : `the server has ${read.value}`
          throw new DbaasError(
            'INVALID_PARAMETER_VALUE',
            `${name} was set to ${value}, but ${words}${waits ? ' until it is restarted' : ''}`,
            {
              details: {parameter: name, asked: value, ...(read === undefined ? {} : {read: read.value ?? ''})},
              suggestions: waits
                ? ['dbaas restart NAME']
                : [`dbaas config unset NAME ${name}`, `dbaas config explain NAME ${name}`],
            },
          )
        }
      }),
  }
}
