/** The log of a vault as a recovery reads it. */
import type {LogArchive} from '../../engines/backup.js'
import type {Vault} from '../repositories/vault/index.js'

/** `completeUntil`: see LogArchive. */
export function logArchiveOf({log}: Pick<Vault, 'log'>, completeUntil: number | null): LogArchive {
  return {
    completeUntil,
    async *segments() {
      for await (const {timeline, segment, whole} of log.segments()) yield {timeline, segment, whole}
    },
    async read(timeline, segment) {
      const {bytes, final, marks, fresh} = await log.read(timeline, segment)
      return {bytes, final, marks, fresh}
    },
    history: (timeline) => log.history(timeline),
  }
}
