import {DbaasError} from '../../core/errors.js'
import {nearest} from '../../core/nearest.js'

/** A filter that can match nothing is a mistake, not an empty list. Throws INVALID_REQUEST with the nearest status. */
export function checkStatus<const Status extends string>(status: string, known: readonly Status[]): asserts status is Status {
  if ((known as readonly string[]).includes(status)) return
  const near = nearest(status, known)
  throw new DbaasError('INVALID_REQUEST', `there is no status "${status}"`, {
    details: {status, statuses: known.join(', ')}, suggestions: [...(near ? [`did you mean ${near}?`] : []), `the statuses are ${known.join(', ')}`],
  })
}
