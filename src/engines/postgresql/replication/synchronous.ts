/** The synchronous set: when it is in force, and whether what it promises has been kept. */
import type {Client} from 'pg'
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import type {EngineReplication, SynchronousSet, Timing} from '../../replication.js'
import {DbaasError} from '../../../core/errors.js'
import {formatLsn, parseLsn} from '../backup/lsn.js'
import {reloadConfiguration} from '../lifecycle.js'
import {checkName, formatSynchronous, peerRole} from './names.js'
import {one, within} from './session.js'
import {change} from './settings.js'

const settleMs = 10_000

interface InForce {
  readonly setting: string
  readonly keeper: string | null
  readonly standbys: {readonly name: string; readonly isSynchronous: boolean}[] | null
}

const inForce = `select current_setting('synchronous_standby_names') as setting,
  (select wait_event from pg_stat_activity where backend_type = 'checkpointer') as keeper,
  (select json_agg(json_build_object('name', application_name, 'isSynchronous', sync_state in ('quorum', 'sync', 'potential')))
    from pg_stat_replication where usename = '${peerRole}' and state = 'streaming') as standbys`

/**
 * Whether commits wait at all is told to all sessions by the checkpointer, when it has read the configuration; nobody can ask it. It reads
 * it before it goes to sleep, so that it is seen asleep says that it has: but not before it was woken, so twice.
 */
const asleep: ReadonlySet<string> = new Set(['CheckpointerMain', 'CheckpointWriteDelay'])

async function untilInForce(client: Client, until: (what: string, ask: () => Promise<true | undefined>) => Promise<true>, setting: string, names: readonly string[]): Promise<void> {
  let seenAsleep = 0
  await until('the synchronous set is in force', async () => {
    const seen = await one<InForce>(client, inForce)
    seenAsleep = asleep.has(seen.keeper ?? '') ? seenAsleep + 1 : 0
    // a standby's priority is its sender's word, which has read the configuration then
    const agreed = (seen.standbys ?? []).every(({name, isSynchronous}) => isSynchronous === names.includes(name))
    return seen.setting === setting && agreed && seenAsleep >= 2 ? true : undefined
  })
}

export const setSynchronous: EngineReplication['setSynchronous'] = async (host: Host, admin: AdminCredentials, set: SynchronousSet, timing?: Timing) => {
  const setting = formatSynchronous(set)
  await within(host, admin, timing, settleMs, async ({client, until}) => {
    const changed = await change(host, {synchronous_standby_names: setting})
    // who wrote the file as it is may not have come to the reload; a new session has what the server has read
    if (changed || (await one<InForce>(client, inForce)).setting !== setting) await reloadConfiguration(client)
    await untilInForce(client, until, setting, set.names)
  })
}

export const barrier: EngineReplication['barrier'] = (host, admin, {k, names, position}, timing) => {
  if (k > names.length) throw new DbaasError('INVALID_REQUEST', `${k} of ${names.length} standbys cannot be waited for`)
  return within(host, admin, timing, settleMs, async ({client, until}) => {
    const to = position ?? BigInt(parseLsn((await one<{at: string}>(client, 'select pg_current_wal_flush_lsn()::text as at')).at))
    const list = names.map((name) => `'${checkName(name)}'`).join(', ')
    const having = await until(`${k} of ${names.join(', ')} have flushed ${formatLsn(Number(to))}`, async () => {
      if (k <= 0 || names.length === 0) return []
      const {rows} = await client.query<{name: string}>(
        `select distinct application_name as name from pg_stat_replication where usename = '${peerRole}' and application_name in (${list}) and flush_lsn >= '${formatLsn(Number(to))}'::pg_lsn`)
      return rows.length >= k ? rows.map(({name}) => name).sort() : undefined
    })
    return {position: to, names: having}
  })
}
