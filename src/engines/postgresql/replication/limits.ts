/**
 * Settings that size what the log is replayed into: a standby with less than its primary had when it wrote the log refuses to start, or stops
 * to replay ("hot standby parameter values"). A server notes in its control file what its log says so far, and goes by that, whatever its
 * configuration says. A primary writes its own into the log when it starts, or is promoted.
 */
import type {ParameterValues} from '../../../core/instance/instance.js'
import {DbaasError} from '../../../core/errors.js'
import type {Host} from '../../host.js'
import type {EngineReplication} from '../../replication.js'
import {controlPath, standbyParametersOf} from '../backup/control-file.js'
import {filesOf} from '../files.js'
import {managedValues} from '../managed.js'
import {programEnv} from '../preflight.js'

const defaults = {max_connections: 100, max_worker_processes: 8, max_wal_senders: 10, max_prepared_transactions: 0, max_locks_per_transaction: 64} as const
type Limit = keyof typeof defaults
const names = Object.keys(defaults) as Limit[]

const lowerSeconds = 120

const limitOf = (values: ParameterValues, name: Limit): number => {
  const asked = Object.entries(values).find(([each]) => each.toLowerCase() === name)?.[1]
  const value = Number(asked ?? defaults[name])
  return Number.isFinite(value) ? value : defaults[name]
}

/** As its log has it, as far as it was replayed; of a primary that runs, what it runs with. */
async function noted(host: Host): Promise<Readonly<Record<Limit, number>>> {
  const file = await host.read(`${host.paths.data}/${controlPath}`)
  if (file === undefined) throw new DbaasError('DATA_GONE', 'there is no control file in the data of the node')
  return standbyParametersOf(file)
}

export const limitsChange: EngineReplication['limitsChange'] = async (host, then) => {
  const now = await noted(host)
  return {raises: names.some((name) => limitOf(then, name) > now[name]), lowers: names.some((name) => limitOf(then, name) < now[name])}
}

export const standbyValues: EngineReplication['standbyValues'] = async (host, values, version, upstream) => {
  const managed = managedValues(version)
  const all = [await noted(host), ...(upstream ? [await noted(upstream)] : [])]
  const larger = names.flatMap((name) => {
    const least = Math.max(...all.map((each) => each[name]))
    return !(name in managed) && least > limitOf(values, name) ? [[name, String(least)] as const] : []
  })
  return larger.length === 0 ? values : {...values, ...Object.fromEntries(larger)}
}

/**
 * A start without a way in, and an end: it writes what the configuration says into the log, as any start of a primary does. With standby.signal it
 * would refuse; whoever boots the node writes that again.
 */
export const lowerLimits: EngineReplication['lowerLimits'] = async (host, signal) => {
  const {data, bin} = host.paths
  const files = filesOf(host)
  await host.remove(`${data}/standby.signal`)
  await host.remove(`${data}/postmaster.pid`)
  const result = await host.exec([`${bin}/postgres`, '--single', '-D', data, '-c', `config_file=${files.conf}`, '-c', `hba_file=${files.hba}`, '-c', `ident_file=${files.ident}`, 'postgres'], {
    env: programEnv, stdin: '', timeoutSeconds: lowerSeconds, ...(signal ? {signal} : {}),
  })
  signal?.throwIfAborted()
  if (result.code === 0 && !result.timedOut) return
  throw new DbaasError('COMMAND_FAILED', `postgres --single ${result.timedOut ? 'took too long' : `ended with code ${result.code}`}: ${result.stderr.trim().split('\n').at(-1) ?? ''}`, {details: {program: 'postgres'}})
}
