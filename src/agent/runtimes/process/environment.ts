/** The environment of everything this runtime runs. Nothing of the agent's own goes in: no proxy, no PG*, no secret. */

/** Found in every process of a server, so that it is known again whatever happened to us. */
export const siteVariable = 'DBAAS_SITE'
export const nodeVariable = 'DBAAS_NODE'
/** `server` for what `start` runs, `tool` for what `exec` runs (initdb): a tool is never taken for a server. */
export const roleVariable = 'DBAAS_ROLE'

export interface Marks {
  readonly siteId: string
  readonly nodeId: string
  readonly role: 'server' | 'tool'
}

/**
 * `home` is a folder of the server's user: with root's HOME, libpq in a dropped-privilege process looks for
 * certificates where it may not look, and the walreceiver never connects.
 */
export function cleanEnvironment(
  options: {home: string; bin: string; marks: Marks; extra?: Readonly<Record<string, string>> | undefined},
): Record<string, string> {
  return {
    PATH: `${options.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
    HOME: options.home,
    TMPDIR: options.home,
    LANG: 'C',
    TZ: 'UTC',
    ...options.extra,
    [siteVariable]: options.marks.siteId,
    [nodeVariable]: options.marks.nodeId,
    [roleVariable]: options.marks.role,
  }
}
