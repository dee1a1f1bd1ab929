/**
 * What a real server does with settings: started with them in its file, does it run, and with what? Nothing here is the
 * validator's: what a text says is worked out anew, from the manual.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import type {Catalogue, ParameterDefinition} from '../../../src/core/config/parameters.js'
import type {ParameterValues} from '../../../src/core/instance/instance.js'
import type {AdminCredentials, TlsFiles} from '../../../src/engines/engine.js'
import type {Host} from '../../../src/engines/host.js'
import {asAdmin} from '../../../src/engines/mysql-family/client.js'
import type {Variable} from '../../../src/engines/mysql-family/dialect.js'
import {toOptions} from '../../../src/engines/mysql-family/options.js'
import type {Setting} from './settings.arbitrary.js'
import type {FamilySubject} from './subject.js'

export interface Started {
  /** Undefined where it did not come up. */
  readonly values: ReadonlyMap<string, string> | undefined
  readonly log: string
}

const factors: Readonly<Record<string, bigint>> = {k: 2n ** 10n, m: 2n ** 20n, g: 2n ** 30n, t: 2n ** 40n, p: 2n ** 50n, e: 2n ** 60n}

/** The number that a text says; undefined where it says none. */
export function numberSaid(text: string): bigint | undefined {
  const match = /^\s*([+-]?\d+)([kmgtpe]?)/i.exec(text)
  return match ? BigInt((match[1] as string).replace('+', '')) * (factors[(match[2] as string).toLowerCase()] ?? 1n) : undefined
}

/** Whether what the server shows is what the text says. */
export function isWhatItSays({name, type, values, min}: ParameterDefinition, text: string, shown: string): boolean {
  const lower = text.trim().toLowerCase()
  const is = shown.toLowerCase()
  switch (type) {
    case 'bool':
      return (['on', 'true', '1'].includes(lower) && is === 'on') || (['off', 'false', '0'].includes(lower) && is === 'off')
    case 'integer': {
      const said = numberSaid(text)
      if (said === undefined) return false
      return said === BigInt(/^-?\d+$/.test(shown) ? shown : '-2') || (said === -1n && min === '-1') || (said === 0n && zeroChooses.has(name))
    }
    case 'real':
      return text.trim() !== '' && Math.abs(Number(text) - Number(shown)) < 1e-6 * Math.max(1, Math.abs(Number(text)))
    case 'enum': {
      if (lower === '') return false
      if (is.startsWith(lower)) return true
      return /^\+?\d+$/.test(lower) && values?.[Number(lower)]?.toLowerCase() === is
    }
    case 'string': {
      if (is === lower || shown === text) return true
      const parts = lower.split(',').filter((part) => part !== '')
      const have = new Set(is.split(','))
      // of switches (`a=on,b=off`) those asked for; `default` for all others
      if (/^\w+=(on|off)/.test(is)) return parts.every((part) => have.has(part) || /(^|=)default$/.test(part))
      if (values !== null && values.length > 0) {
        if (/^\+?\d+$/.test(lower)) return true
        return parts.every((part) => have.has(part))
      }
      const plain = (word: string): string => word.replace('utf8mb3', 'utf8').replace(/^([+-])(\d:)/, '$10$2')
      return plain(is) === plain(lower)
    }
  }
}

const zeroChooses = new Set(['back_log', 'open_files_limit', 'innodb_open_files', 'innodb_buffer_pool_instances', 'innodb_buffer_pool_chunk_size'])

export class Oracle {
  private constructor(
    private readonly subject: FamilySubject,
    private readonly host: Host,
    private readonly admin: AdminCredentials,
    private readonly tls: TlsFiles,
    private readonly base: ParameterValues,
    private readonly catalogue: Catalogue,
  ) {}

  static async of(subject: FamilySubject, name: string, base: ParameterValues, catalogue: Catalogue): Promise<Oracle> {
    const host = await subject.place(name)
    await subject.engine.lifecycle.initialise(host, subject.version)
    return new Oracle(subject, host, await subject.admin(), await subject.tls(), base, catalogue)
  }

  starts = 0

  /** Starts a server with the settings beside the base's, and reads every variable. */
  async start(settings: readonly Setting[], base = this.base): Promise<Started & {rssBytes: number}> {
    const {engine, version, member} = this.subject
    this.starts += 1
    const values = {...base, ...Object.fromEntries(settings.map(({definition, value}) => [definition.name, value]))}
    await engine.config.write(this.host, {version, instanceName: 'demo', values, tls: this.tls})
    const server = await this.subject.start(this.host, engine.lifecycle.command(this.host, version))
    let ended = false
    void server.ended.then(() => {
      ended = true
    })
    for (const until = Date.now() + 60_000; !ended && Date.now() < until; await sleep(20)) {
      if (/ready for connections[\s\S]*port: [1-9]/.test(server.log())) break
    }
    let running: Map<string, string> | undefined
    if (!ended) {
      const rows = await asAdmin(member.dialect, this.host, this.admin, async (client) => {
        await client.query('set session sql_big_selects = 1')
        if (member.dialect.engine === 'mariadb') await client.query('set session tmp_disk_table_size = 18446744073709551615')
        return client.query<Variable & Record<string, string | null>>(member.dialect.globalVariables)
      }).catch((error: Error) => {
        throw new Error(`${error.message} with ${JSON.stringify(settings.map(({definition, value}) => [definition.name, value]))}\n${server.log().slice(-2000)}`)
      })
      running = new Map(rows.map(({name, value}) => [name, value ?? '']))
    }
    await server.stop('SIGKILL')
    await engine.lifecycle.clearStale(this.host)
    return {values: running, log: server.log(), rssBytes: 0}
  }

  /** What of the settings a started server runs with exactly, all at once; those that it will not start with left out. */
  async verdicts(settings: readonly Setting[]): Promise<Map<Setting, string | undefined>> {
    const results = new Map<Setting, string | undefined>()
    let rest = [...settings]
    while (rest.length > 0) {
      const {values, log} = await this.start(rest)
      if (values) {
        for (const setting of rest) results.set(setting, this.judge(setting, values, log))
        return results
      }
      const culprits = rest.filter((setting) => isBlamed(setting, log))
      if (culprits.length === 0 && rest.length > 1) {
        if (process.env.DBAAS_ORACLE) console.log('halves', rest.length, log.split('\n').filter((line) => /ERROR|error|signal/.test(line)).slice(0, 6))
        const half = Math.ceil(rest.length / 2)
        for (const part of [rest.slice(0, half), rest.slice(half)])
          for (const [setting, verdict] of await this.verdicts(part)) results.set(setting, verdict)
        return results
      }
      for (const culprit of culprits.length === 0 ? rest : culprits) results.set(culprit, lastError(log))
      rest = culprits.length === 0 ? [] : rest.filter((setting) => !culprits.includes(setting))
    }
    return results
  }

  /** One setting by itself, and whether the base's own values still hold beside it: why not, or undefined. */
  async alone(setting: Setting): Promise<string | undefined> {
    const {values, log} = await this.start([setting])
    if (!values) return lastError(log)
    const own = Object.entries(this.base).flatMap(([name, value]) => {
      const definition = this.catalogue.get(name)
      return definition === undefined || name === setting.definition.name ? [] : [{definition, value}]
    })
    for (const one of [setting, ...own]) {
      const because = this.judge(one, values, log)
      if (because !== undefined) return one === setting ? because : `of ${one.definition.name}: ${because}`
    }
    return undefined
  }

  private judge({definition, value}: Setting, values: ReadonlyMap<string, string>, log: string): string | undefined {
    const shown = values.get(definition.name)
    if (shown === undefined) return 'it does not have the variable'
    if (!isWhatItSays(definition, value, shown)) return `it runs with ${shown}`
    const option = Object.keys(toOptions({[definition.name]: ''}))[0] as string
    const warning = log.split('\n').find((line) => /\[Warning\]/.test(line) && new RegExp(`option '${option}'`).test(line.replaceAll('-', '_')))
    return warning === undefined ? undefined : `it warns: ${warning}`
  }
}

/** Whether a server that gave up says that it was for this setting. */
function isBlamed({definition, value}: Setting, log: string): boolean {
  const option = Object.keys(toOptions({[definition.name]: ''}))[0] as string
  return log.split('\n').some((line) => {
    if (!/\[ERROR\]|unknown variable|ambiguous/.test(line)) return false
    const words = line.replaceAll('-', '_')
    return new RegExp(`['\`"]${option}['\`"=]|for ${option}\\b`).test(words) || (value !== '' && (line.includes(`'${value}'`) || line.endsWith(`: ${value}`)))
  })
}

const lastError = (log: string): string =>
  log.split('\n').filter((line) => /\[ERROR\]/.test(line) && !/Aborting/.test(line)).at(-1) ?? (log.trim().split('\n').at(-1) || 'it does not start')
