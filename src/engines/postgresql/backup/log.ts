/** What is needed of the log, and points in it that have a name. */
import {DbaasError} from '../../../core/errors.js'
import type {LogPlace} from '../../backup.js'
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import {asAdmin} from '../client.js'
import {isServerError, sqlError} from '../errors.js'
import {formatLsn, parseLsn, parseSegment, startOfSegment} from './lsn.js'

/**
 * Along any history that leads on from the place, what lies before it is not needed. An older timeline's segments behind it
 * may be: the place's own timeline may have been left there.
 */
export const isNeeded = ({segment}: {readonly segment: string}, from: LogPlace): boolean => parseSegment(segment).start >= startOfSegment(parseLsn(from.position))

/** As EngineLog.mark promises. */
export async function mark(host: Host, admin: AdminCredentials, name: string): Promise<LogPlace> {
  if (name === '' || Buffer.byteLength(name) > 63 || name.includes('\0')) {
    throw new DbaasError('INVALID_REQUEST', `"${name}" cannot be the name of a point`, {suggestions: ['use at most 63 bytes']})
  }
  return asAdmin(host, admin, async (client) => {
    try {
      // A commit with an id of its own waits until the log is on the disk; the point alone would not.
      await client.query('begin; set local synchronous_commit = local')
      const {rows: [row]} = await client.query<{lsn: string; timeline: string}>(
        'select lsn::text, substr(pg_walfile_name(lsn), 1, 8) as timeline, pg_current_xact_id() from pg_create_restore_point($1) lsn', [name])
      await client.query('commit')
      return {timeline: row?.timeline as string, position: formatLsn(parseLsn(row?.lsn as string))}
    } catch (error) {
      throw isServerError(error) ? sqlError(error) : error
    }
  })
}
