/** The data of a node whose server does not run: what they are of, how far their log goes, and whether they fit the history of another. */
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import type {EngineReplication, History, NodeData, Rejoin, Source, Timing} from '../../replication.js'
import {DbaasError} from '../../../core/errors.js'
import {formatBytes} from '../../../core/units.js'
import {type ControlFile, controlPath, readControlFile} from '../backup/control-file.js'
import {formatLsn, segmentName, startOfSegment} from '../backup/lsn.js'
import {parseHistory} from '../backup/timeline.js'
import {filesOf} from '../files.js'
import {isInitialised} from '../initialise.js'
import {findLogEnd, type LogEnd} from './log-end.js'
import {one, within} from './session.js'

const askMs = 10_000

async function readControl(host: Host): Promise<ControlFile> {
  const file = await host.read(`${host.paths.data}/${controlPath}`)
  if (file === undefined) throw new DbaasError('DATA_GONE', 'there is no control file in the data of the node')
  return readControlFile(file)
}

export async function readData(host: Host): Promise<NodeData> {
  const control = await readControl(host)
  const {timeline, position} = await findLogEnd(host, control)
  return {system: control.system, state: control.state === 'stopped' || control.state === 'stopped-standby' ? control.state : 'crashed', timeline, position: BigInt(position)}
}

/** The record of the checkpoint at a stop is the last of the log. */
export const shutdownPosition: EngineReplication['shutdownPosition'] = async (host) => {
  const {state, timeline, position} = await readData(host)
  if (state !== 'crashed') return {timeline, position}
  throw new DbaasError('INVALID_STATE', 'the server was not stopped in order: its log says more than anybody may have got')
}

export const history: EngineReplication['history'] = (source, timing) => historyOf(source.host, source.admin, timing)

const historyOf = (host: Host, admin: AdminCredentials, timing?: Timing): Promise<History> =>
  within(host, admin, timing, askMs, async ({client}) => {
    const system = await one<{systemid: string; timeline: number}>(client, 'IDENTIFY_SYSTEM')
    const timeline = Number(system.timeline)
    const content = timeline === 1 ? undefined : (await one<{content: Buffer | string}>(client, `TIMELINE_HISTORY ${timeline}`)).content
    return {
      system: String(system.systemid), timeline,
      parents: content === undefined ? [] : parseHistory(content.toString()).map((parent) => ({timeline: parent.timeline, end: BigInt(parent.end)})),
    }
  }, {walsender: true})

export const divergence: EngineReplication['divergence'] = ({timeline, position}, {timeline: current, parents}) => {
  if (timeline === current) return {kind: 'within'}
  const left = parents.find((parent) => parent.timeline === timeline)
  if (left === undefined) return {kind: 'foreign'}
  return position <= left.end ? {kind: 'within'} : {kind: 'ahead', bytes: position - left.end}
}

export const canRewind = (host: Host): Promise<boolean> => host.exists(`${host.paths.bin}/pg_rewind`)

/**
 * Whether the node's log is, up to its end, the source's own. Log that the source has not any more is as good as another's: it cannot be
 * followed from there.
 */
const isSameLog = ({position, tailStart, tail}: LogEnd, {timeline, parents}: History, source: Source, timing?: Timing): Promise<boolean> =>
  within(source.host, source.admin, timing, askMs, async ({client}) => {
    const start = startOfSegment(Math.max(0, position - 1))
    // the source has the segment under the newest of its timelines that has something of it
    for (const each of [timeline, ...parents.map((parent) => parent.timeline).reverse()]) {
      const {bytes} = await client.query<{bytes: Buffer | null}>('select pg_read_binary_file($1, $2, $3, true) as bytes', [`pg_wal/${segmentName(each, start)}`, tailStart - start, tail.length])
        .then(({rows: [row]}) => row as {bytes: Buffer | null})
      if (bytes !== null) return tail.length > 0 && bytes.equals(tail)
    }
    return false
  })

/** As EngineReplication.assessRejoin promises. */
export async function assessRejoin(host: Host, source: Source, timing?: Timing): Promise<Rejoin> {
  const copy = (because: string, discardedBytes: bigint | null = null): Rejoin => ({kind: 'copy', because, discardedBytes})
  if (await host.exists(filesOf(host).unfinished)) return copy('a rewind of the data did not come to its end')
  if (!(await isInitialised(host))) return copy('the node has no data, or only a part of them')
  let control: ControlFile
  try {
    control = await readControl(host)
  } catch (error) {
    if (error instanceof DbaasError && (error.code === 'INTEGRITY_MISMATCH' || error.code === 'DATA_GONE')) return copy(error.message)
    throw error
  }
  const end = await findLogEnd(host, control)
  const target = await history(source, timing)
  if (control.system !== target.system) return copy(`the data are of the system ${control.system}, and the others' of ${target.system}`)
  const place = `its log ends at ${formatLsn(end.position)} of the timeline ${end.timeline}`
  // the log of a copy comes when it is started; one that was left behind by its source never gets whole, and so never serves
  if (end.tail.length === 0 && (await host.exists(`${host.paths.data}/backup_label`))) return {kind: 'none', because: 'it is a copy that was never started', discardedBytes: 0n}
  const relation = divergence({timeline: end.timeline, position: BigInt(end.position)}, target)
  if (relation.kind === 'within') {
    if (await isSameLog(end, target, source, timing)) return {kind: 'none', because: `${place}, on the way of the timeline ${target.timeline}`, discardedBytes: 0n}
    return copy(`${place}, and the other node has not that log: it is another's, or was removed`)
  }
  const discarded = relation.kind === 'ahead' ? relation.bytes : null
  const because = relation.kind === 'ahead'
    ? `${place}, ${formatBytes(Number(relation.bytes))} after the timeline ${target.timeline} left that`
    : `${place}, and the timeline ${target.timeline} does not come from there`
  if (!(await canRewind(host))) return copy(`${because}; there is no pg_rewind`, discarded)
  if (!control.isRewindable) return copy(`${because}; its pages have no checksums, and its log no hints`, discarded)
  return {kind: 'rewind', because, discardedBytes: discarded}
}
