/** PostgreSQL's backups: base backups and the log over the replication protocol, recovery by the server itself. */
import type {EngineBackup, EngineLog} from '../../backup.js'
import {asAdmin} from '../client.js'
import {baseBackup} from './base-backup.js'
import {follow} from './follow.js'
import {hold, observeHold, release} from './hold.js'
import {formatLsn, parseLsn, parseSegment, parseTimeline, segmentName} from './lsn.js'
import {recovery} from './recovery.js'
import {backupRole, prepare} from './role.js'

const segmentOf: EngineLog['segmentOf'] = ({timeline, position}) => segmentName(parseTimeline(timeline), parseLsn(position))

const log: EngineLog = {
  compare: (a, b) => parseLsn(a) - parseLsn(b),
  distance: (from, to) => parseLsn(to) - parseLsn(from),
  positionOf: (segment, offset) => formatLsn(parseSegment(segment).start + offset),
  segmentOf,
  // recovery goes from a timeline to later ones, and never back
  isNeeded: ({timeline, segment}, from) => timeline > from.timeline || (timeline === from.timeline && segment >= segmentOf(from)),
  hold, release, observeHold, follow,
  mark: (host, admin, name) => asAdmin(host, admin, async (client) => {
    const {rows: [point]} = await client.query<{position: string; file: string}>('select lsn as position, pg_walfile_name(lsn) as file from pg_create_restore_point($1) lsn', [name])
    return {timeline: (point?.file ?? '').slice(0, 8), position: point?.position ?? ''}
  }),
}

export const backup: EngineBackup = {username: backupRole, prepare, base: baseBackup, log, recovery}
