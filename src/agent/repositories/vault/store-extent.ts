/** What to store of an extent, given what it was and what it is. Pure but for the hashing. */
import {add, count, has, unite} from './bitmap.js'
import {extentBytes, hashBytes} from './format.js'
import type {DataKeys} from './keys.js'
import {apply, bitmapBytes, hashPage, isZero, pagesPerExtent, take, type Content} from './pages.js'
import type {StoreExtent} from './tasks.js'

/**
 * When an extent is stored whole instead of one more page set upon it. Reading it costs at most `deltaShare` more bytes,
 * and a page set more for each snapshot in which it changed. Writing: with 1 % of the pages changing between snapshots,
 * evenly spread, five pages are written for one that changed; "whole after 4 deltas" would write twenty.
 */
export const policy = {
  /** More than this share of its pages has changed at once. */
  changedShare: 1 / 4,
  /** The page sets upon the lowest list more than this share of an extent's pages. */
  deltaShare: 1 / 2,
  /** Page sets upon the lowest; one more merges them into one. */
  deltas: 16,
} as const

export type Decision = {readonly kind: 'same' | 'zero'} | {readonly kind: 'whole' | 'delta' | 'merged'; readonly content: Content}

/** The first `n` pages. */
function first(n: number, pageSize: number): Uint8Array {
  const bits = new Uint8Array(bitmapBytes(pageSize))
  for (let page = 0; page < n; page++) add(bits, page)
  return bits
}

/** Whether changed pages must be merged with what is below them (`merge` of the request), which then has to be read. */
export function mergeNeeded(pageSize: number, depth: number, deltaPages: number, changed: number): 'all' | 'deltas' | undefined {
  if (depth === 0) return undefined
  if (deltaPages + changed > policy.deltaShare * pagesPerExtent(pageSize)) return 'all'
  return depth > policy.deltas ? 'deltas' : undefined
}

/** `opened` are the page sets of `merge`, from the lowest to the uppermost. */
export function decide(keys: DataKeys, request: StoreExtent, opened: readonly Content[]): Decision {
  return request.content.kind === 'whole' ? decideWhole(keys, request, request.content.bytes) : decideChanged(keys, request, request.content, opened)
}

function decideWhole(keys: DataKeys, {pageSize, pages, before, depth, deltaPages}: StoreExtent, bytes: Uint8Array): Decision {
  const pageAt = (page: number) => bytes.subarray(page * pageSize, (page + 1) * pageSize)
  const hashes = new Uint8Array(pages * hashBytes)
  const changed = new Uint8Array(bitmapBytes(pageSize))
  let zero = true
  for (let page = 0; page < pages; page++) {
    const at = page * hashBytes
    if (!isZero(pageAt(page))) {
      hashes.set(hashPage(keys.page, pageAt(page)), at)
      zero = false
    }
    const old = before?.hashes.subarray(at, at + hashBytes)
    if (old === undefined || Buffer.compare(old, hashes.subarray(at, at + hashBytes)) !== 0) add(changed, page)
  }
  const known = (page: number) => hashes.subarray(page * hashBytes, (page + 1) * hashBytes)
  const content = (listed: Uint8Array) => take(keys.page, pageSize, listed, pageAt, known)
  const n = count(changed)
  if (before !== null && n === 0) return {kind: 'same'}
  if (zero) return {kind: 'zero'}
  const much = n > policy.changedShare * pages || deltaPages + n > policy.deltaShare * pagesPerExtent(pageSize)
  if (before === null || depth === 0 || much) return {kind: 'whole', content: content(first(pages, pageSize))}
  if (depth <= policy.deltas) return {kind: 'delta', content: content(changed)}
  for (let page = 0; page < pages; page++) if (has(before.touched, page)) add(changed, page)
  return {kind: 'merged', content: content(changed)}
}

function decideChanged(keys: DataKeys, request: StoreExtent, changed: StoreExtent['content'] & {kind: 'changed'}, opened: readonly Content[]): Decision {
  const {pageSize, pages, before, depth} = request
  const bytes = Buffer.alloc(extentBytes)
  const listed = new Uint8Array(bitmapBytes(pageSize))
  for (const content of opened) {
    apply(content, bytes)
    unite(listed, content.listed)
  }
  let at = 0
  for (let page = 0; page < pagesPerExtent(pageSize); page++) {
    if (has(changed.given, page)) {
      bytes.set(changed.bytes.subarray(at, at += pageSize), page * pageSize)
      add(listed, page)
    } else if (changed.zeroed !== null && has(changed.zeroed, page) && before !== null && !isZero(before.hashes.subarray(page * hashBytes, (page + 1) * hashBytes))) {
      bytes.fill(0, page * pageSize, (page + 1) * pageSize)
      add(listed, page)
    }
  }
  const content = (bits: Uint8Array) => take(keys.page, pageSize, bits, (page) => bytes.subarray(page * pageSize, (page + 1) * pageSize))
  if (count(listed) === 0) return {kind: 'same'}
  const every = first(pages, pageSize)
  const isWhole = depth === 0 || changed.merge?.all === true || every.every((byte, i) => (byte & ~(listed[i] as number)) === 0)
  if (isWhole) {
    const whole = content(every)
    return count(whole.stored) === 0 ? {kind: 'zero'} : {kind: 'whole', content: whole}
  }
  return {kind: changed.merge === null ? 'delta' : 'merged', content: content(listed)}
}
