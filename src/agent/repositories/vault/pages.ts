/**
 * Page sets: the unit of storage. A page set says, for the pages of one extent that it lists, what they hold; those it
 * does not list are as the page set below it says, and zero at the bottom. Pages of zeros are listed but not stored.
 */
import {createHmac} from 'node:crypto'
import {add, count, has} from './bitmap.js'
import {extentBytes, hashBytes} from './format.js'

export interface PageSet {
  /** Bytes of a page, a power of two of at least 4096, the same in all page sets of a file. */
  readonly pageSize: number
  readonly listed: Uint8Array
  /** Those of the listed that are not all zeros. */
  readonly stored: Uint8Array
  /** Their hashes, `hashBytes` each, in order. */
  readonly hashes: Uint8Array
}

export const pagesPerExtent = (pageSize: number): number => extentBytes / pageSize
export const bitmapBytes = (pageSize: number): number => pagesPerExtent(pageSize) / 8
export const isPageSize = (n: number): boolean => [4096, 8192, 16_384, 32_768, 65_536].includes(n)

const zeros = Buffer.alloc(65_536)
export const isZero = (page: Uint8Array): boolean => zeros.compare(page, 0, page.length, 0, page.length) === 0

/** HMAC-SHA-256 (RFC 2104), the first 16 bytes: without the key nobody can tell from it whether a page is a known one. */
export const hashPage = (key: Buffer, page: Uint8Array): Buffer => createHmac('sha256', key).update(page).digest().subarray(0, hashBytes)

/**
 * The id of a page set: HMAC-SHA-256 over all that it says, its pages by their hashes. So every page is hashed once, for
 * the comparison with the last snapshot and for this; equal content of one incarnation has the same id wherever it lies.
 */
export function idOf(key: Buffer, {pageSize, listed, stored, hashes}: PageSet): Buffer {
  return createHmac('sha256', key).update(Buffer.of(Math.log2(pageSize))).update(listed).update(stored).update(hashes).digest()
}

/** What an extent holds, by hash: zero bytes for a page of zeros. */
export interface Overlay {
  readonly hashes: Uint8Array
  /** Pages that some page set above the lowest lists. */
  readonly touched: Uint8Array
}

/** `sets` from the lowest to the uppermost. */
export function overlay(sets: readonly PageSet[], pageSize: number): Overlay {
  const hashes = new Uint8Array(pagesPerExtent(pageSize) * hashBytes)
  const touched = new Uint8Array(bitmapBytes(pageSize))
  sets.forEach((set, depth) => {
    let at = 0
    for (let page = 0; page < pagesPerExtent(pageSize); page++) {
      if (!has(set.listed, page)) continue
      if (depth > 0) add(touched, page)
      if (has(set.stored, page)) hashes.set(set.hashes.subarray(at, at += hashBytes), page * hashBytes)
      else hashes.fill(0, page * hashBytes, (page + 1) * hashBytes)
    }
  })
  return {hashes, touched}
}

/** A page set with its pages: those stored, one after the other. */
export interface Content extends PageSet {
  readonly pages: Uint8Array
}

/** The pages as views into the extent `bytes`, hashed; those of `listed` alone. */
export function take(pageKey: Buffer, pageSize: number, listed: Uint8Array, pageAt: (page: number) => Uint8Array, known?: (page: number) => Uint8Array | undefined): Content {
  const stored = new Uint8Array(listed.length)
  const parts: Uint8Array[] = []
  const hashes: Uint8Array[] = []
  for (let page = 0; page < pagesPerExtent(pageSize); page++) {
    if (!has(listed, page)) continue
    const bytes = pageAt(page)
    if (isZero(bytes)) continue
    add(stored, page)
    parts.push(bytes)
    hashes.push(known?.(page) ?? hashPage(pageKey, bytes))
  }
  return {pageSize, listed, stored, hashes: Buffer.concat(hashes), pages: Buffer.concat(parts)}
}

/** What is compressed and encrypted: the two bitmaps and the pages. */
export const plainOf = ({listed, stored, pages}: Content): Buffer => Buffer.concat([listed, stored, pages])

/** The other way round. Throws a plain Error when it is none. */
export function parsePlain(plain: Uint8Array, pageSize: number): Omit<Content, 'hashes'> {
  const size = bitmapBytes(pageSize)
  const [listed, stored, pages] = [plain.subarray(0, size), plain.subarray(size, 2 * size), plain.subarray(2 * size)]
  if (stored.length !== size || pages.length !== count(stored) * pageSize) throw new Error('its pages do not add up')
  return {pageSize, listed, stored, pages}
}

export const hashesOf = (pageKey: Buffer, {pages, pageSize}: Pick<Content, 'pages' | 'pageSize'>): Buffer =>
  Buffer.concat(Array.from({length: pages.length / pageSize}, (_, i) => hashPage(pageKey, pages.subarray(i * pageSize, (i + 1) * pageSize))))

/** Writes the pages of the set into the beginning of an extent; those behind the end of `bytes` (whole pages) are left out. */
export function apply({pageSize, listed, stored, pages}: Omit<Content, 'hashes'>, bytes: Uint8Array): void {
  const end = bytes.length / pageSize
  let at = 0
  for (let page = 0; page < end; page++) {
    if (!has(listed, page)) continue
    if (has(stored, page)) bytes.set(pages.subarray(at, at += pageSize), page * pageSize)
    else bytes.fill(0, page * pageSize, (page + 1) * pageSize)
  }
}
