/** What is asked of an object and what comes: a part that is not the one that was asked for is never taken for it. */
import type {Range} from '../repository.js'
import type {Answer} from './exchange.js'

/** Everything is asked for as a range: the answer then says how long the object is, and a shorter one is noticed. */
export function rangeHeader(range: Range | undefined): string {
  if (range === undefined) return 'bytes=0-'
  return 'last' in range ? `bytes=-${range.last}` : `bytes=${range.offset}-${range.offset + range.length - 1}`
}

/** From where to where (exclusive) that is in an object of so many bytes. */
export function within(range: Range | undefined, size: number): {from: number; to: number} {
  if (range === undefined) return {from: 0, to: size}
  if ('last' in range) return {from: Math.max(0, size - range.last), to: size}
  return {from: Math.min(range.offset, size), to: Math.min(range.offset + range.length, size)}
}

/** How long the object is, by an answer of 200 or 206. Undefined when it does not say. */
export function sizeBy({status, headers, body}: Answer): number | undefined {
  if (status === 200) return body.length
  const found = /^bytes \d+-\d+\/(\d+)$/.exec(headers['content-range'] ?? '')
  return found ? Number(found[1]) : undefined
}

/** Why the answer is not that of the range. */
export function doubtOf(range: Range | undefined, answer: Answer): string | undefined {
  if (answer.status === 200) return undefined
  const said = answer.headers['content-range'] ?? ''
  const size = sizeBy(answer)
  if (size === undefined) return `its answer does not say which part of the object it is`
  const {from, to} = within(range, size)
  return said === `bytes ${from}-${to - 1}/${size}` && answer.body.length === to - from ? undefined : `it was asked for bytes ${from} to ${to - 1} and gave "${said.slice(0, 60)}"`
}

/** The part of the answer that is the range, in memory of its own. */
export function partOf(range: Range | undefined, {status, body}: Answer): Buffer {
  if (status !== 200) return body
  // It does not know ranges: this is all of it.
  const {from, to} = within(range, body.length)
  if (to - from === body.length) return body
  const part = Buffer.allocUnsafeSlow(Math.max(0, to - from))
  body.copy(part, 0, from, to)
  return part
}
