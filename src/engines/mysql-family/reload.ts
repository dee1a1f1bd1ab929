/**
 * The server reads its file at its start and never again, so a reload is ours: what the file says and the running server
 * has otherwise is set, variable by variable, and all is put back when one value is refused.
 */
import {DbaasError} from '../../core/errors.js'
import type {Host} from '../host.js'
import type {AdminClient} from './client.js'
import type {Dialect, Variable} from './dialect.js'
import {isServerError, numberOf} from './errors.js'
import {writtenParameters} from './files.js'
import {parseBoolean, parseInteger, parseReal} from './numbers.js'
import {aliasOf, variableOf} from './options.js'

/** What is refused because the variable cannot be set while the server runs: not a fault of the value. */
const needsRestart = new Set([1238, 1228])
/** A number for a text variable, or a text for a number: the variable is of the other kind. */
const wrongType = 1232

/** Six decimals are how a real is shown, always; `1e3` is a number of another size in a variable of whole ones. */
const isReal = (running: string): boolean => /\.\d{6}$/.test(running)

/** A number as a statement has it, which takes no `7M`; undefined for what can only be text. */
function numeric(text: string, running: string): string | undefined {
  if (isReal(running)) return parseReal(text) === undefined ? undefined : text.trim()
  const number = parseInteger(text)
  return typeof number === 'bigint' ? String(number) : undefined
}

/** Most writings of one value come out the same. Where they do not, the variable is set once more to what it has. */
function isSame(text: string, running: string): boolean {
  if (text === running) return true
  const [a, b] = [parseBoolean(text), parseBoolean(running)]
  if (a !== undefined && b !== undefined && /^(?:ON|OFF)$/.test(running)) return a === b
  const number = numeric(text, running)
  return number !== undefined && Number(number) === Number(running) && BigInt(Math.trunc(Number(number))) < 2n ** 53n
}

/**
 * Numbers are tried as such: a variable of numbers takes no text, and one of text says that it takes no number. Booleans
 * too: a few know their words as text only.
 */
async function setGlobal(client: AdminClient, name: string, value: string, running: string): Promise<void> {
  const truth = /^(?:ON|OFF)$/.test(running) ? parseBoolean(value) : undefined
  const number = truth === undefined ? numeric(value, running) : truth ? 'on' : 'off'
  if (number !== undefined) {
    try {
      await client.query(`set global ${quoteName(name)} = ${number}`)
      return
    } catch (error) {
      if (numberOf(error) !== wrongType) throw error
    }
  }
  await client.query(`set global ${quoteName(name)} = ?`, [value])
}

/** `cache.key_buffer_size` and the like are a variable of a component. */
const quoteName = (name: string): string =>
  name
    .split('.')
    .map((part) => `\`${part.replaceAll('`', '``')}\``)
    .join('.')

const setDefault = (client: AdminClient, name: string) => client.query(`set global ${quoteName(name)} = default`)

interface Change {
  readonly name: string
  /** Undefined: back to what the server has without a configuration. */
  readonly to: string | undefined
}

/**
 * What a running server is told by who decides its role, not by its configuration: a reload that put it back to its
 * default would open a fenced server to writes.
 */
const ofItsRole = /^(?:super_)?read_only$|^offline_mode$|^gtid_|^rpl_semi_sync_|^(?:replica|slave|sql_replica|sql_slave)_/

/** What differs between the file and the server. A variable that nobody configures any more goes back to its default. */
function changesTo(written: ReadonlyMap<string, string>, running: readonly Variable[], managed: object): Change[] {
  const has = new Set(running.map(({name}) => name))
  const asked = new Map<string, {option: string; value: string}>()
  for (const [option, value] of written) {
    const variable = variableOf(option, (name) => has.has(name))
    if (variable !== undefined) asked.set(variable, {option, value})
  }
  return running.flatMap(({name, value, origin}): Change[] => {
    const to = asked.get(name)
    if (to === undefined) {
      const stays = origin === 'default' || ofItsRole.test(name) || aliasOf(name, (other) => has.has(other)) !== undefined
      return stays ? [] : [{name, to}]
    }
    // what the agent answers for is the same for as long as the server runs
    return Object.hasOwn(managed, to.option) || isSame(to.value, value ?? '') ? [] : [{name, to: to.value}]
  })
}

async function versionOf(client: AdminClient): Promise<string> {
  const [row] = await client.query<{version: string}>('select version() as version')
  return /^\d+\.\d+\.\d+/.exec(row?.version ?? '')?.[0] ?? ''
}

const refused = (name: string, error: Error): DbaasError =>
  new DbaasError('INVALID_PARAMETER_VALUE', `the server does not accept its configuration: ${error.message}`, {
    details: {parameter: name, server: error.message},
    suggestions: [`dbaas config unset NAME ${name}`],
    cause: error,
  })

/** As EngineLifecycle.reload promises. Certificates come last: their files are there whatever the values say. */
export async function reload(dialect: Dialect, host: Host, client: AdminClient): Promise<void> {
  const running = await client.query<Variable & Record<string, string | null>>(dialect.globalVariables)
  const before = new Map(running.map(({name, value}) => [name, value]))
  const done: string[] = []
  const managed = dialect.managedValues(await versionOf(client))
  for (const {name, to} of changesTo(await writtenParameters(host), running, managed)) {
    try {
      await (to === undefined ? setDefault(client, name) : setGlobal(client, name, to, before.get(name) ?? ''))
      done.push(name)
    } catch (error) {
      if (needsRestart.has(numberOf(error) ?? 0)) continue
      if (!isServerError(error)) throw error
      // without a configuration there is no value to refuse: a few variables have no default to go back to
      if (to === undefined) continue
      await putBack(client, done, before)
      throw refused(name, error)
    }
  }
  try {
    await client.query(dialect.reloadTls)
  } catch (error) {
    if (!isServerError(error)) throw error
    throw new DbaasError('COMMAND_FAILED', `the server keeps its old certificate: ${error.message}`, {
      details: {server: error.message},
      suggestions: ['dbaas logs NAME', 'dbaas restart NAME'],
      cause: error,
    })
  }
}

/** The last one first: what was possible in one order may only be possible back in the other. */
async function putBack(
  client: AdminClient,
  names: readonly string[],
  values: ReadonlyMap<string, string | null>,
): Promise<void> {
  for (const name of [...names].reverse()) {
    const value = values.get(name)
    await (value === null || value === undefined ? setDefault(client, name) : setGlobal(client, name, value, value)).catch(
      (error: unknown) => {
        if (!isServerError(error)) throw error
      },
    )
  }
}
