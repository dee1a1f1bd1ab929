/** Which agent a command talks to: the CLI's only reader of its environment. */
import {homedir} from 'node:os'
import {join, resolve} from 'node:path'
import {checkUrl, currentContext, findContext, localContext} from './contexts.js'
import type {ContextTarget} from './contexts.js'
import {agentSocketPath} from './socket-path.js'

export type Target = ContextTarget

export interface Location {
  /** The context's name; `DBAAS_URL` when the environment names an agent without one. */
  readonly context: string
  /** The agent of this home: the only one that a command may start. */
  readonly local: boolean
  /** Absolute. */
  readonly home: string
  readonly target: Target
  readonly tenant: string | undefined
}

export interface Asked {
  readonly context?: string | undefined
  readonly tenant?: string | undefined
}

export type Environment = Readonly<Record<string, string | undefined>>

/** `DBAAS_HOME`, or `~/.dbaas`; absolute. */
export const homeOf = (environment: Environment = process.env): string =>
  environment.DBAAS_HOME ? resolve(environment.DBAAS_HOME) : join(environment.HOME || homedir(), '.dbaas')

/**
 * The nearer says: the flag, then `DBAAS_URL`, then `DBAAS_CONTEXT`, then what `context use` chose, then `local`.
 * `DBAAS_TOKEN` and `DBAAS_TENANT` win over what the context has saved. Throws CONTEXT_NOT_FOUND, USAGE for a
 * DBAAS_URL that is none, HOME_UNUSABLE, STORE_CORRUPT, STORE_NEWER.
 */
export function locate(asked: Asked = {}, environment: Environment = process.env): Location {
  const home = homeOf(environment)
  const {DBAAS_URL: url, DBAAS_TOKEN: token} = environment
  const tenantOr = (saved: string | undefined): string | undefined =>
    asked.tenant ?? (environment.DBAAS_TENANT || saved)
  if (asked.context === undefined && url) {
    checkUrl(url)
    return {
      context: 'DBAAS_URL',
      local: false,
      home,
      target: {url, ...(token ? {token} : {})},
      tenant: tenantOr(undefined),
    }
  }
  const name = asked.context ?? (environment.DBAAS_CONTEXT || currentContext(home))
  const saved = findContext(home, name)
  if (!saved) {
    return {
      context: localContext,
      local: true,
      home,
      target: {socketPath: agentSocketPath(home, {make: false})},
      tenant: tenantOr(undefined),
    }
  }
  const target =
    'url' in saved
      ? {url: saved.url, ...(token ? {token} : saved.token === undefined ? {} : {token: saved.token})}
      : {socketPath: saved.socketPath}
  return {context: name, local: false, home, target, tenant: tenantOr(saved.tenant)}
}
