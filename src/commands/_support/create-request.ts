/** What `create` sends: a file's keys, then the flags, which win. The keys of the file are the flags' names. */
import type {BodyOf, CreateBody} from '../../core/api/schemas.js'
import {DbaasError} from '../../core/errors.js'
import {nearest} from '../../core/nearest.js'
import {parseDuration} from '../../core/time.js'
import {parseBytes} from '../../core/units.js'
import {parseAssignments, parseNumber, topologyBody} from './flags.js'

/** The flags of `create` that describe the instance, as the parser gives them. */
export interface CreateFlags {
  readonly name?: string | undefined
  readonly engine?: string | undefined
  readonly version?: string | undefined
  readonly runtime?: string | undefined
  readonly image?: string | undefined
  readonly 'publish-address'?: string | undefined
  readonly size?: string | undefined
  readonly cpu?: string | undefined
  readonly memory?: string | undefined
  readonly storage?: string | undefined
  readonly ha?: boolean | undefined
  readonly replicas?: string | undefined
  readonly template?: string | undefined
  readonly set?: readonly string[] | undefined
  readonly ttl?: string | undefined
  /** Only said when it is not wanted. */
  readonly backup?: boolean | undefined
  readonly repository?: string | undefined
  readonly protect?: boolean | undefined
  readonly port?: string | undefined
}

const fileKeys = [
  'name', 'engine', 'version', 'runtime', 'image', 'publish-address', 'size', 'cpu', 'memory', 'storage', 'ha', 'replicas', 'template', 'set', 'ttl', 'backup', 'repository', 'protect', 'port',
] as const

/** A YAML text (JSON is YAML) as flags. Throws USAGE with the nearest key. */
export async function parseCreateFile(text: string, path: string): Promise<CreateFlags> {
  const {parse, YAMLParseError} = await import('yaml')
  const wrong = (because: string, details: Record<string, string> = {}, suggestions: string[] = []) =>
    new DbaasError('USAGE', `${path}: ${because}`, {details: {file: path, ...details}, suggestions})
  let content: unknown
  try {
    // Numbers such as `version: 17.10` must stay what was typed, so every scalar is read as text.
    content = parse(text, {schema: 'failsafe'})
  } catch (error) {
    if (error instanceof YAMLParseError) throw wrong((error.message.split('\n')[0] as string).replace(/:$/, ''), lineOf(error.linePos), ['mend the file, then run the command again'])
    throw error
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw wrong('is not a mapping of keys to values', {}, [`the keys are ${fileKeys.join(', ')}`])
  }
  const flags: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(content)) {
    if (!(fileKeys as readonly string[]).includes(key)) {
      const near = nearest(key, fileKeys)
      throw wrong(`has no key "${key}"`, {key}, [...(near ? [`did you mean ${near}?`] : []), `the keys are ${fileKeys.join(', ')}`])
    }
    if (key === 'set') flags.set = assignments(value, wrong)
    else if (typeof value !== 'string') throw wrong(`"${key}" takes one value`, {key}, [`write ${key}: VALUE`])
    else if (key === 'protect' || key === 'backup' || key === 'ha') flags[key] = truth(key, value, wrong)
    else flags[key] = value
  }
  return flags as CreateFlags
}

type Wrong = (because: string, details?: Record<string, string>, suggestions?: string[]) => DbaasError

const lineOf = (places: readonly {line: number; col: number}[] | undefined): Record<string, string> =>
  places?.[0] ? {line: String(places[0].line), column: String(places[0].col)} : {}

function assignments(value: unknown, wrong: Wrong): string[] {
  if (Array.isArray(value) && value.every((entry) => typeof entry === 'string')) return value
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every((entry) => typeof entry === 'string')) {
    return Object.entries(value).map(([name, entry]) => `${name}=${entry as string}`)
  }
  throw wrong('"set" takes a mapping of parameters to values', {key: 'set'}, ['write set: {work_mem: 64MB}'])
}

function truth(key: string, value: string, wrong: Wrong): boolean {
  if (value === 'true' || value === 'false') return value === 'true'
  throw wrong(`"${key}" is true or false, not "${value}"`, {key}, [`write ${key}: true`])
}

/** Throws USAGE, INVALID_SIZE, INVALID_REQUEST for what is malformed; what is possible, the agent judges. */
export function createBody(file: CreateFlags, flags: CreateFlags, plan: boolean): CreateBody {
  const given = Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined))
  const all: CreateFlags = {...file, ...given}
  const parameters = {...parseAssignments(file.set ?? []), ...parseAssignments(flags.set ?? [])}
  if (all.name === undefined) throw new DbaasError('USAGE', 'missing NAME', {suggestions: ['dbaas create demo', 'dbaas create --help']})
  if (file.name !== undefined && flags.name !== undefined && file.name !== flags.name) {
    throw new DbaasError('USAGE', `the file names the instance "${file.name}", the command line "${flags.name}"`, {
      suggestions: ['leave one of the two out'],
    })
  }
  return {
    name: all.name,
    ...(all.engine === undefined ? {} : {engine: all.engine}),
    ...(all.version === undefined ? {} : {version: all.version}),
    ...(all.runtime === undefined ? {} : {runtime: all.runtime}),
    ...(all.image === undefined ? {} : {image: all.image}),
    ...(all['publish-address'] === undefined ? {} : {publish_address: all['publish-address']}),
    ...sizeBody(all),
    ...topologyBody(all),
    ...(all.template === undefined ? {} : {template: all.template}),
    ...(Object.keys(parameters).length === 0 ? {} : {parameters}),
    ...(all.ttl === undefined ? {} : {ttl_seconds: parseTtl(all.ttl)}),
    ...(all.backup === undefined ? {} : {backup: all.backup}),
    ...(all.repository === undefined ? {} : {repository: all.repository}),
    ...(all.protect === undefined ? {} : {protected: all.protect}),
    ...(all.port === undefined ? {} : {port: parsePort(all.port)}),
    ...(plan ? {plan} : {}),
  }
}

/** What size flags ask for. Throws USAGE, INVALID_SIZE. */
export const sizeBody = ({size, cpu, memory, storage}: Pick<CreateFlags, 'size' | 'cpu' | 'memory' | 'storage'>): BodyOf<'instances.scale'> => ({
  ...(size === undefined ? {} : {size}),
  ...(cpu === undefined ? {} : {cpu: parseNumber('cpu', cpu)}),
  ...(memory === undefined ? {} : {memory_bytes: parseBytes(memory)}),
  ...(storage === undefined ? {} : {storage_bytes: parseBytes(storage)}),
})

/** Seconds. */
function parseTtl(text: string): number {
  const ms = parseDuration(text)
  if (ms <= 0) throw new DbaasError('USAGE', `--ttl must be longer than "${text}"`, {suggestions: ['--ttl 1h']})
  return ms / 1000
}

function parsePort(text: string): number {
  const port = parseNumber('port', text, {integer: true, min: 1})
  if (port > 65_535) throw new DbaasError('USAGE', `--port is at most 65535, not ${text}`, {
    details: {flag: '--port', value: text}, suggestions: ['leave --port away to get a free one'],
  })
  return port
}
