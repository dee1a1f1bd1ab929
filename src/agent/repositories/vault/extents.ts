/** Cuts the files of a snapshot into extents. */
import {DbaasError} from '../../../core/errors.js'
import {add} from './bitmap.js'
import {extentBytes} from './format.js'
import {bitmapBytes, pagesPerExtent} from './pages.js'
import {extentsOf} from './tree.js'
import type {ChangedPage} from './writer.js'

export interface ExtentInput {
  readonly kind: 'extent'
  readonly index: number
  readonly pageSize: number
  /** Of the file in this extent. */
  readonly pages: number
  readonly content:
    | {readonly kind: 'whole'; readonly bytes: Buffer}
    | {readonly kind: 'changed'; readonly given: Uint8Array; readonly bytes: Buffer; readonly zeroed: Uint8Array | null}
}

export type Cut = ExtentInput | {readonly kind: 'as before' | 'zero'; readonly index: number} | {readonly kind: 'end'; readonly length: number}

/** `room` gives memory of `extentBytes`, which the consumer hands on. */
export async function* cutWhole(bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, pageSize: number, room: () => Buffer): AsyncGenerator<Cut> {
  // None while nothing has come: a database has as many empty files as others.
  let extent: Buffer | undefined
  let at = 0
  let index = 0
  const take = (full: Buffer): ExtentInput => {
    const pages = Math.ceil(at / pageSize)
    full.fill(0, at, pages * pageSize)
    extent = undefined
    return {kind: 'extent', index: index++, pageSize, pages, content: {kind: 'whole', bytes: full.subarray(0, pages * pageSize)}}
  }
  for await (const chunk of bytes) {
    for (let from = 0; from < chunk.length; ) {
      const n = Math.min(chunk.length - from, extentBytes - at)
      extent ??= room()
      extent.set(chunk.subarray(from, from + n), at)
      from += n
      at += n
      if (at < extentBytes) continue
      yield take(extent)
      at = 0
    }
  }
  const length = index * extentBytes + at
  if (extent) yield take(extent)
  yield {kind: 'end', length}
}

/** `old`: the file in the previous snapshot. */
export async function* cutChanged(
  {length, pages}: {readonly length: number; readonly pages: AsyncIterable<ChangedPage> | Iterable<ChangedPage>}, pageSize: number,
  old: {readonly path: string; readonly length: number}, room: () => Buffer,
): AsyncGenerator<Cut> {
  const perExtent = pagesPerExtent(pageSize)
  const total = Math.ceil(length / pageSize)
  const oldPages = Math.ceil(old.length / pageSize)
  const wrong = (what: string) => new DbaasError('INTERNAL', `${old.path}: ${what}`)
  let index = 0
  let open: {given: Uint8Array; bytes: Buffer; used: number} | undefined
  let last = -1

  /** Closes the extent `index`, whatever was given of it. */
  function close(): Cut {
    const here = index++
    const inExtent = Math.min(perExtent, total - here * perExtent)
    // Pages behind the old end, which are zero unless given: below them may lie what was cut off an earlier time.
    const from = Math.max(0, oldPages - here * perExtent)
    let zeroed: Uint8Array | null = null
    if (here < extentsOf(old.length) && from < inExtent) {
      zeroed = new Uint8Array(bitmapBytes(pageSize))
      for (let page = from; page < inExtent; page++) add(zeroed, page)
    }
    if (!open && zeroed === null) return {kind: here < extentsOf(old.length) ? 'as before' : 'zero', index: here}
    const {given, bytes, used} = open ?? {given: new Uint8Array(bitmapBytes(pageSize)), bytes: room(), used: 0}
    open = undefined
    return {kind: 'extent', index: here, pageSize, pages: inExtent, content: {kind: 'changed', given, bytes: bytes.subarray(0, used), zeroed}}
  }

  for await (const {page, bytes} of pages) {
    if (page <= last || page >= total) throw wrong(`page ${page} is given after ${last}, and the file has ${total}`)
    if (bytes.length !== pageSize && !(page === total - 1 && bytes.length === length - page * pageSize)) throw wrong(`page ${page} has ${bytes.length} bytes`)
    last = page
    while (Math.floor(page / perExtent) > index) yield close()
    open ??= {given: new Uint8Array(bitmapBytes(pageSize)), bytes: room(), used: 0}
    add(open.given, page % perExtent)
    open.bytes.set(bytes, open.used)
    open.bytes.fill(0, open.used + bytes.length, open.used + pageSize)
    open.used += pageSize
  }
  // What would be cut off in the middle of a page would still be in it, and come back when the file grows.
  if (length < old.length && length % pageSize !== 0 && last !== total - 1) throw wrong('it was cut in the middle of a page, which is not given')
  while (index < extentsOf(length)) yield close()
  yield {kind: 'end', length}
}
