/**
 * What is a node's own of its configuration. It lies outside of the data, in `replication.conf`, which `postgresql.conf` includes last: no
 * copy of data brings another's along, it outlives a restart, and a reload puts it in force. Only `standby.signal` must be in the data.
 */
import {DbaasError} from '../../../core/errors.js'
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import type {Boot, Upstream} from '../../replication.js'
import {filesOf, renderParameters} from '../files.js'
import {checkName, peerRole, slotOf} from './names.js'

/** Of every node, be it primary or standby: it may be the other tomorrow. */
const always: Readonly<Record<string, string>> = {
  wal_receiver_timeout: '3s',
  wal_receiver_status_interval: '1s',
  wal_retrieve_retry_interval: '100ms',
  recovery_min_apply_delay: '0',
  recovery_target_timeline: 'latest',
}

/** A value of a connection string, as conninfo_parse reads it. */
const quote = (value: string): string => `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`

const connectionString = (values: Readonly<Record<string, string>>): string => Object.entries(values).map(([name, value]) => `${name}=${quote(value)}`).join(' ')

/** How a node dials a peer: by certificate, and never for long. The peer must have a certificate of the site's CA, whatever name is in it. */
const dialling = (host: Host, {address}: Upstream): Record<string, string> => {
  const files = filesOf(host)
  return {
    host: address.host, port: String(address.port), user: peerRole, dbname: 'postgres',
    sslmode: 'verify-ca', sslrootcert: files.peerCa, sslcert: files.peerCertificate, sslkey: files.peerKey, ssl_min_protocol_version: 'TLSv1.3', gssencmode: 'disable',
    connect_timeout: '2', keepalives: '1', keepalives_idle: '2', keepalives_interval: '1', keepalives_count: '3', tcp_user_timeout: '5000',
  }
}

/** For a program that asks a peer. */
export const peerConnection = (host: Host, upstream: Upstream): string => connectionString({...dialling(host, upstream), application_name: `${checkName(upstream.name)}_rewind`})

/** The sender gives a silent standby up as soon as that gives it up; sessions of others keep their patience. */
const conninfo = (host: Host, upstream: Upstream): string =>
  connectionString({...dialling(host, upstream), application_name: checkName(upstream.name), options: '-c wal_sender_timeout=5s'})

/** Of a connection string that we have written; null: of nobody. */
export function parseUpstream(conninfo: string): {host: string; port: number} | null {
  const found = /host='([^']*)' port='(\d+)'/.exec(conninfo)
  return found ? {host: found[1] as string, port: Number(found[2])} : null
}

/** What must be different while a standby follows somebody, and while it follows nobody. */
export const following = (host: Host, upstream: Upstream | null): Record<string, string | null> =>
  upstream === null
    // nobody's reading may hold up the replay of what there is: it may be promoted next
    ? {primary_conninfo: '', primary_slot_name: '', max_standby_streaming_delay: '0', max_standby_archive_delay: '0'}
    : {primary_conninfo: conninfo(host, upstream), primary_slot_name: slotOf(upstream.name), max_standby_streaming_delay: null, max_standby_archive_delay: null}

const header = '# Written by dbaas; changes are overwritten. What this node has of its own in its replication.\n'

/** As renderParameters writes: a line each, a quote doubled, a backslash doubled. */
function parse(text: string): Record<string, string> {
  return Object.fromEntries(text.split('\n').flatMap((line) => {
    const found = /^(\w+) = '(.*)'$/.exec(line)
    return found ? [[found[1] as string, (found[2] as string).replaceAll("''", "'").replaceAll('\\\\', '\\')]] : []
  }))
}

const changing = new Map<string, Promise<unknown>>()

/** Changes some values of the file, null takes one out; one change of a file at a time. True when it changed. */
export function change(host: Host, changes: Readonly<Record<string, string | null>>): Promise<boolean> {
  const path = filesOf(host).replication
  const before = changing.get(path) ?? Promise.resolve()
  const now = before.catch(() => {}).then(async () => {
    const present = (await host.read(path))?.toString('utf8')
    const values = {primary_conninfo: '', primary_slot_name: '', synchronous_standby_names: '', ...parse(present ?? ''), ...always, ...changes}
    const content = header + renderParameters(Object.fromEntries(Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== null)))
    if (content === present) return false
    await host.write({path, content})
    return true
  })
  changing.set(path, now)
  return now.finally(() => {
    if (changing.get(path) === now) changing.delete(path)
  })
}

export async function provide(host: Host, credentials: AdminCredentials): Promise<boolean> {
  const files = filesOf(host)
  let changed = false
  // the key first: a standby that dials in between is refused, and dials again
  for (const [path, content] of [[files.peerKey, credentials.key], [files.peerCertificate, credentials.certificate], [files.peerCa, credentials.ca]] as const) {
    if ((await host.read(path))?.equals(Buffer.from(content))) continue
    await host.write({path, content, mode: 0o600})
    changed = true
  }
  return changed
}

const inData = (host: Host, name: string): string => `${host.paths.data}/${name}`

/** Of the data of whoever they were copied from; it would override us. Not while a recovery of ours wrote it: that is none of a node with peers. */
const foreign = /^\s*(?:primary_conninfo|primary_slot_name|synchronous_standby_names|restore_command|recovery_\w+|hot_standby|wal_receiver_\w+|wal_retrieve_retry_interval)\b/

async function clearAutoConf(host: Host): Promise<void> {
  const path = inData(host, 'postgresql.auto.conf')
  const text = (await host.read(path))?.toString('utf8')
  const kept = text?.split('\n').filter((line) => !foreign.test(line)).join('\n')
  if (kept !== undefined && kept !== text) await host.write({path, content: kept})
}

/** A server that starts takes the newest history for the one to follow: an empty one (see promote) that is the newest would keep it from that. */
async function removeReserved(host: Host): Promise<void> {
  const wal = inData(host, 'pg_wal')
  for (const name of (await host.list(wal)).filter((each) => each.endsWith('.history')).sort().reverse()) {
    if ((await host.read(`${wal}/${name}`))?.length !== 0) return
    await host.remove(`${wal}/${name}`)
  }
}

/** As EngineReplication.prepareBoot promises. */
export async function prepareBoot(host: Host, boot: Boot): Promise<void> {
  if (await host.exists(filesOf(host).unfinished)) {
    throw new DbaasError('INVALID_STATE', 'a rewind of the data did not come to its end: they must not be started', {suggestions: ['copy the data of another node']})
  }
  // first what makes it harmless: whoever starts it in between gets a standby
  if (boot.role === 'standby') await host.write({path: inData(host, 'standby.signal'), content: ''})
  await host.remove(inData(host, 'recovery.signal'))
  await clearAutoConf(host)
  await removeReserved(host)
  await change(host, boot.role === 'standby' ? following(host, boot.upstream) : {
    ...following(host, null), max_standby_streaming_delay: null, max_standby_archive_delay: null, ...(boot.alone ? {synchronous_standby_names: ''} : {}),
  })
  if (boot.role === 'primary') await host.remove(inData(host, 'standby.signal'))
}
