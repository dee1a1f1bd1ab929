/**
 * The files that make a server recover: standby mode without a primary and without a command. Then it looks for its log in
 * `pg_wal` alone, and waits there for what is not yet there; it needs neither a shell nor a way to us. They go to
 * `postgresql.auto.conf`, which overrides the configuration, stays through crashes, and is of the data.
 */
import {DbaasError} from '../../../core/errors.js'
import type {RecoveryPlan} from '../../backup.js'
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import {asAdmin} from '../client.js'
import {renderParameters} from '../files.js'
import {majorOf} from '../versions.js'
import {parseTimeline} from './lsn.js'
import {controlPath, standbyParametersOf} from './control-file.js'
import type {StandbyParameters} from './wal-events.js'

const settingsPath = 'postgresql.auto.conf'
const keptPath = 'postgresql.auto.conf.before-recovery'
const signalPath = 'standby.signal'

type Floors = {readonly [name in keyof StandbyParameters]?: number}

function targetOf({target, stop, expected}: RecoveryPlan): Record<string, string> {
  if (stop === 'end') return {}
  const inclusive = (byDefault: boolean): Record<string, string> => ({recovery_target_inclusive: (target.inclusive ?? byDefault) ? 'on' : 'off'})
  switch (target.kind) {
    case 'time': {
      const micros = BigInt(target.micros)
      const time = new Date(Number(micros / 1_000_000n) * 1000).toISOString().slice(0, 19)
      return {recovery_target_time: `${time}.${String(micros % 1_000_000n).padStart(6, '0')}+00`, ...inclusive(true)}
    }
    case 'position': return {recovery_target_lsn: target.position, ...inclusive(false)}
    case 'transaction': return {recovery_target_xid: target.id, ...inclusive(true)}
    case 'name': return {recovery_target_name: target.name}
    case 'backup': return {recovery_target: 'immediate'}
    case 'latest': throw new DbaasError('INTERNAL', `a recovery to the latest ends at ${expected.position}, with the log`)
  }
}

/** Came in a minor, for a recovery that would not take them otherwise. */
const hasInPlaceTablespaces = (version: string): boolean => majorOf(version) >= 15 || Number(version.split('.')[1]) >= 5

const settingsOf = (plan: RecoveryPlan, floors: Floors): string =>
  '# Written by dbaas for a recovery, and gone when it has ended.\n' +
  renderParameters({
    restore_command: '', primary_conninfo: '', primary_slot_name: '',
    recovery_target_timeline: String(parseTimeline(plan.timeline)), recovery_target_action: 'promote', ...targetOf(plan),
    hot_standby: 'on',
    // how long it waits before it looks again
    wal_retrieve_retry_interval: '50ms',
    // old segments would be renamed to names of those to come
    wal_recycle: 'off',
    // tablespaces that were elsewhere are in the data folder
    ...(hasInPlaceTablespaces(plan.engine['version'] as string) ? {allow_in_place_tablespaces: 'on'} : {}),
    ...Object.fromEntries(Object.entries(floors).map(([name, value]) => [name, String(value)])),
  })

const at = (host: Host, path: string): string => `${host.paths.data}/${path}`

/** Before the first start: `floors` come from the control file, for a server does not replay what needed more than it has. */
export async function writeSettings(host: Host, plan: RecoveryPlan): Promise<void> {
  const control = await host.read(at(host, controlPath))
  if (control === undefined) throw new DbaasError('DATA_GONE', 'there is no control file in the restored data')
  if (!(await host.exists(at(host, keptPath)))) {
    await host.write({path: at(host, keptPath), content: (await host.read(at(host, settingsPath))) ?? ''})
  }
  await host.write({path: at(host, settingsPath), content: settingsOf(plan, standbyParametersOf(control))})
  await host.write({path: at(host, signalPath), content: ''})
}

/** Reads back what floors are set. */
async function floorsIn(host: Host): Promise<Record<string, number>> {
  const text = (await host.read(at(host, settingsPath)))?.toString('utf8') ?? ''
  return Object.fromEntries([...text.matchAll(/^(max_\w+) = '(\d+)'$/gm)].map(([, name, value]) => [name as string, Number(value)]))
}

/** Whether the server must be started anew to replay what needs so much: then the settings say so from now on. */
export async function raiseFloors(host: Host, plan: RecoveryPlan, needed: StandbyParameters): Promise<boolean> {
  const floors = await floorsIn(host)
  const raised = Object.fromEntries(Object.entries(needed).map(([name, value]) => [name, Math.max(value as number, floors[name] ?? 0)]))
  if (Object.entries(raised).every(([name, value]) => floors[name] === value)) return false
  await host.write({path: at(host, settingsPath), content: settingsOf(plan, raised)})
  return true
}

/** As EngineRecovery.finish promises. */
export async function removeSettings(host: Host, admin: AdminCredentials): Promise<{restart: boolean}> {
  const kept = await host.read(at(host, keptPath))
  return asAdmin(host, admin, async (client) => {
    if (kept !== undefined) {
      await host.write({path: at(host, settingsPath), content: kept})
      await host.remove(at(host, keptPath))
    }
    await client.query('select pg_reload_conf()')
    const {rows} = await client.query<{name: string}>(`
      select s.name from pg_settings s left join (select distinct on (lower(name)) lower(name) as name, setting from pg_file_settings where applied or error is not null order by lower(name), seqno desc) f
        on f.name = lower(s.name)
      where s.name like 'max\\_%' and s.context = 'postmaster' and f.setting is not null and f.setting <> s.setting`)
    return {restart: rows.length > 0}
  })
}
