/**
 * The CLI's names for agents, in `<home>/contexts.json` (0600: it holds tokens). `local`, the agent of this home,
 * always exists and is not in the file.
 */
import {mkdirSync, readFileSync, renameSync, writeFileSync} from 'node:fs'
import {isAbsolute, join} from 'node:path'
import {DbaasError} from '../../core/errors.js'
import {checkName} from '../../core/instance/names.js'
import {nearest} from '../../core/nearest.js'
import {discard, homeError} from './home.js'

export const localContext = 'local'
const formatVersion = 1

/** How an agent is reached: a socket on this machine, or a URL with a token. */
export type ContextTarget = {readonly socketPath: string} | {readonly url: string; readonly token?: string}
export type SavedContext = ContextTarget & {readonly tenant?: string}

export interface ContextListing {
  readonly name: string
  readonly current: boolean
  /** A socket path or a URL; null for `local`, whose socket follows from the home. */
  readonly address: string | null
  readonly tenant: string | null
  readonly has_token: boolean
}

interface ContextsFile {
  readonly version: number
  readonly current: string
  readonly contexts: Readonly<Record<string, SavedContext>>
}

const contextsFile = (home: string): string => join(home, 'contexts.json')

/** All of them, `local` first, the rest by name. Throws STORE_CORRUPT, STORE_NEWER, HOME_UNUSABLE. */
export function listContexts(home: string): ContextListing[] {
  const {current, contexts} = read(home)
  return [
    {name: localContext, current: current === localContext, address: null, tenant: null, has_token: false},
    ...Object.entries(contexts)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, context]) => ({
        name,
        current: current === name,
        address: 'url' in context ? context.url : context.socketPath,
        tenant: context.tenant ?? null,
        has_token: 'url' in context && context.token !== undefined,
      })),
  ]
}

/** The name that `context use` chose last. */
export const currentContext = (home: string): string => read(home).current

/** The saved context, or undefined for `local`. Throws CONTEXT_NOT_FOUND. */
export function findContext(home: string, name: string): SavedContext | undefined {
  if (name === localContext) return undefined
  const {contexts} = read(home)
  if (!Object.hasOwn(contexts, name)) throw notFound(name, contexts)
  return contexts[name]
}

/** Adds or (`replace`) replaces one. Throws INVALID_NAME, NAME_IN_USE, USAGE for a URL or path that is none. */
export function addContext(home: string, name: string, context: SavedContext, {replace = false} = {}): void {
  checkName(name, 'context')
  if ('url' in context) checkUrl(context.url)
  else if (!isAbsolute(context.socketPath)) {
    throw new DbaasError('USAGE', `the socket path "${context.socketPath}" is not absolute`, {
      details: {path: context.socketPath},
    })
  }
  const file = read(home)
  if (name === localContext || (!replace && Object.hasOwn(file.contexts, name))) {
    throw new DbaasError('NAME_IN_USE', `there is a context "${name}" already`, {
      details: {context: name},
      suggestions:
        name === localContext
          ? ['choose another name: "local" is the agent of this home']
          : [`dbaas context remove ${name}`, 'dbaas context list'],
    })
  }
  write(home, {...file, contexts: {...file.contexts, [name]: context}})
}

/** Makes it the one that commands use when none is named. Throws CONTEXT_NOT_FOUND. */
export function useContext(home: string, name: string): void {
  findContext(home, name)
  write(home, {...read(home), current: name})
}

/** Forgets it; when it was the current one, `local` is. Throws CONTEXT_NOT_FOUND, USAGE for `local`. */
export function removeContext(home: string, name: string): void {
  if (name === localContext) {
    throw new DbaasError('USAGE', 'the context "local" cannot be removed', {
      suggestions: ['dbaas agent stop', 'dbaas context list'],
    })
  }
  findContext(home, name)
  const file = read(home)
  const {[name]: _, ...contexts} = file.contexts
  write(home, {...file, current: file.current === name ? localContext : file.current, contexts})
}

/**
 * https; or plain http to this machine alone, where a tunnel ends: elsewhere it would show the token to the network.
 * Throws USAGE.
 */
export function checkUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const suggestions = ['write https://host:port']
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new DbaasError('USAGE', `"${text}" is not the URL of an agent`, {details: {url: text}, suggestions})
  }
  if (url.protocol === 'http:' && !['localhost', '127.0.0.1', '[::1]'].includes(url.hostname)) {
    throw new DbaasError('USAGE', `${url.origin} is not encrypted, and the token would be readable on the way`, {
      details: {url: url.origin},
      suggestions,
    })
  }
  return url
}

function notFound(name: string, contexts: ContextsFile['contexts']): DbaasError {
  const near = nearest(name, [localContext, ...Object.keys(contexts)])
  return new DbaasError('CONTEXT_NOT_FOUND', `there is no context "${name}"`, {
    details: {context: name},
    suggestions: [
      ...(near ? [`did you mean "${near}"?`] : []),
      'dbaas context list',
      `dbaas context add ${name} --url https://…`,
    ],
  })
}

function read(home: string): ContextsFile {
  const path = contextsFile(home)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const {code} = error as NodeJS.ErrnoException
    // A home that is not there, or not a folder, is for the launch to judge: no context can be in it.
    if (code === 'ENOENT' || code === 'ENOTDIR') return {version: formatVersion, current: localContext, contexts: {}}
    throw homeError(home, error)
  }
  const file = parse(text)
  if (!file) {
    throw new DbaasError('STORE_CORRUPT', `the file of contexts ${path} is damaged`, {
      details: {file: path},
      suggestions: [`mv '${path}' '${path}.damaged'`, 'dbaas context add …'],
    })
  }
  if (file.version > formatVersion) {
    throw new DbaasError('STORE_NEWER', `the file of contexts ${path} was written by a newer dbaas`, {
      details: {file: path, version: String(file.version)},
      suggestions: ['install the newer dbaas again'],
    })
  }
  return file
}

function parse(text: string): ContextsFile | undefined {
  const isRecord = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  const isContext = (value: unknown): boolean =>
    isRecord(value) && (typeof value.url === 'string' || typeof value.socketPath === 'string')
  try {
    const file: unknown = JSON.parse(text)
    if (!isRecord(file) || typeof file.version !== 'number') return undefined
    if (file.version > formatVersion) return {version: file.version, current: localContext, contexts: {}}
    const whole =
      typeof file.current === 'string' && isRecord(file.contexts) && Object.values(file.contexts).every(isContext)
    return whole ? (file as unknown as ContextsFile) : undefined
  } catch {
    return undefined
  }
}

/** Renamed into place: a command that reads meanwhile finds the old list or the new one. */
function write(home: string, file: ContextsFile): void {
  const path = contextsFile(home)
  const temporary = `${path}.${process.pid}`
  try {
    mkdirSync(home, {recursive: true, mode: 0o700})
    writeFileSync(temporary, `${JSON.stringify(file, null, 2)}\n`, {mode: 0o600, flush: true})
    renameSync(temporary, path)
  } catch (error) {
    discard(temporary)
    throw homeError(home, error)
  }
}
