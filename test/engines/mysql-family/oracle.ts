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
import type {AdminClient} from '../../../src/engines/mysql-family/client.js'
import type {Variable} from '../../../src/engines/mysql-family/dialect.js'
import {filesOf} from '../../../src/engines/mysql-family/files.js'
import {toOptions} from '../../../src/engines/mysql-family/options.js'
import type {Setting} from './settings.arbitrary.js'
import type {FamilySubject} from './subject.js'

export interface Started {
  /** Undefined where it did not come up. */
  readonly values: ReadonlyMap<string, string> | undefined
  /** What a running server says to a setting that needs no restart: its refusal, or what it then has. */
  readonly set: ReadonlyMap<Setting, string>
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
      // a word with a blank beside it is no word: the server warns, or takes its default
      if (lower !== text.toLowerCase()) return false
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

  /** Writes the file of a server with the settings beside the base's. */
  private async write(settings: readonly Setting[]): Promise<void> {
    const {engine, version} = this.subject
    const values = {...this.base, ...Object.fromEntries(settings.map(({definition, value}) => [definition.name, value]))}
    await engine.config.write(this.host, {version, instanceName: 'demo', values, tls: this.tls})
  }

  /** Starts a server with the settings beside the base's, reads every variable, and sets those settings that it lets be set. */
  async start(settings: readonly Setting[]): Promise<Started> {
    const {engine, version, member} = this.subject
    this.starts += 1
    await this.write(settings)
    const server = await this.subject.start(this.host, engine.lifecycle.command(this.host, version))
    let ended = false
    void server.ended.then(() => {
      ended = true
    })
    for (const until = Date.now() + 60_000; !ended && Date.now() < until; await sleep(20)) {
      if (/ready for connections[\s\S]*port: [1-9]/.test(server.log())) break
    }
    let started: Started = {values: undefined, set: new Map(), log: ''}
    if (!ended) {
      started = await asAdmin(member.dialect, this.host, this.admin, async (client) => {
        const read = async (): Promise<Map<string, string>> => {
          const rows = await client.query<Variable & Record<string, string | null>>(member.dialect.globalVariables)
          return new Map(rows.map(({name, value}) => [name, value ?? '']))
        }
        const values = await read()
        return {values, set: await this.set(client, settings, values), log: ''}
      }).catch((error: Error) => {
        const asked = settings.map(({definition, value}) => `${definition.name} = ${JSON.stringify(value)}`).join(', ')
        throw new Error(`${error.message} with ${asked}\n${server.log().slice(-2000)}`)
      })
    }
    await server.stop('SIGKILL')
    await engine.lifecycle.clearStale(this.host)
    return {...started, log: server.log()}
  }

  /** What a server that runs with a setting says when it is set once more, where it needs no restart. */
  private async set(client: AdminClient, settings: readonly Setting[], values: ReadonlyMap<string, string>): Promise<Map<Setting, string>> {
    const refused = new Map<Setting, string>()
    for (const setting of settings) {
      const {name, requires, type} = setting.definition
      const has = values.get(name) ?? ''
      if (requires !== 'reload' || !isWhatItSays(setting.definition, setting.value, has)) continue
      const number = type === 'integer' || /^\s*\+?\d+$/.test(setting.value) ? numberSaid(setting.value) : undefined
      const literal = type === 'bool' ? has : type === 'real' ? setting.value : number === undefined ? '?' : String(number)
      try {
        await client.query(`set global \`${name}\` = ${literal}`, literal === '?' ? [setting.value] : [])
        const [row] = await client.query<{is: string | null}>(`select @@global.\`${name}\` as \`is\``)
        const is = type === 'bool' ? (row?.is === '1' || row?.is === 'ON' ? 'ON' : 'OFF') : (row?.is ?? '')
        if (type !== 'real' && inOrder(is) !== inOrder(has)) refused.set(setting, `set while it runs it is ${is}, not ${has}`)
      } catch (error) {
        refused.set(setting, `set while it runs: ${(error as Error).message}`)
      }
    }
    return refused
  }

  /** Settings that the server's program refuses before it starts anything: one at a time, which a start is too slow for. */
  private async refusedUnread(settings: readonly Setting[]): Promise<Map<Setting, string>> {
    const refused = new Map<Setting, string>()
    const {dialect} = this.subject.member
    for (let rest = [...settings]; rest.length > 0; ) {
      await this.write(rest)
      const argv = [`${this.host.paths.bin}/${dialect.serverProgram}`, `--defaults-file=${filesOf(this.host).conf}`, '--verbose', '--help']
      const {code, stderr} = await this.host.exec(argv)
      const culprits = code === 0 && !/Error while setting value/.test(stderr) ? [] : rest.filter((setting) => isBlamed(setting, stderr))
      if (culprits.length === 0) break
      for (const culprit of culprits) refused.set(culprit, lastError(stderr))
      rest = rest.filter((setting) => !refused.has(setting))
    }
    return refused
  }

  /**
   * What of the settings a started server runs with exactly, all at once; those that it will not start with left out.
   * Undefined of one that it accepts.
   */
  async verdicts(settings: readonly Setting[]): Promise<Map<Setting, string | undefined>> {
    const results = new Map<Setting, string | undefined>(await this.refusedUnread(settings))
    let rest = settings.filter((setting) => !results.has(setting))
    while (rest.length > 0) {
      const started = await this.start(rest)
      if (started.values) {
        for (const setting of rest) results.set(setting, this.judge(setting, started))
        return results
      }
      const culprits = rest.filter((setting) => isBlamed(setting, started.log))
      if (culprits.length === 0 && rest.length > 1) {
        const half = Math.ceil(rest.length / 2)
        for (const part of [rest.slice(0, half), rest.slice(half)])
          for (const [setting, verdict] of await this.verdicts(part)) results.set(setting, verdict)
        return results
      }
      for (const culprit of culprits.length === 0 ? rest : culprits) results.set(culprit, lastError(started.log))
      rest = culprits.length === 0 ? [] : rest.filter((setting) => !culprits.includes(setting))
    }
    return results
  }

  /** One setting by itself, and whether the base's own values still hold beside it: why not, or undefined. */
  async alone(setting: Setting): Promise<string | undefined> {
    const started = await this.start([setting])
    if (!started.values) return lastError(started.log)
    const own = Object.entries(this.base).flatMap(([name, value]) => {
      const definition = this.catalogue.get(name)
      return definition === undefined || name === setting.definition.name ? [] : [{definition, value}]
    })
    for (const one of [setting, ...own]) {
      const because = this.judge(one, started)
      if (because !== undefined) return one === setting ? because : `of ${one.definition.name}: ${because}`
    }
    return undefined
  }

  private judge(setting: Setting, {values, set, log}: Started): string | undefined {
    const {definition, value} = setting
    const shown = values?.get(definition.name)
    if (shown === undefined) return 'it does not have the variable'
    if (!isWhatItSays(definition, value, shown)) return `it runs with ${shown}`
    const option = Object.keys(toOptions({[definition.name]: ''}))[0] as string
    const warning = log.split('\n').find((line) => /\[Warning\]/.test(line) && new RegExp(`option '${option}'`).test(line.replaceAll('-', '_')))
    return warning === undefined ? set.get(setting) : `it warns: ${warning}`
  }
}

/** A list in any order is the same list. */
const inOrder = (text: string): string => text.toLowerCase().split(',').sort().join(',')

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
