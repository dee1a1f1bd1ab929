/** Packs: the objects that page sets are stored in, 16 to 64 MiB each, named by the SHA-256 of what they hold. */
import {createHash, randomBytes} from 'node:crypto'
import {count} from './bitmap.js'
import {pack as packed, unpack, type Codec} from './codec.js'
import {bind, hashBytes, idBytes, packMagic, packTrailerBytes, saltBytes} from './format.js'
import {packKey, type DataKeys} from './keys.js'
import {bitmapBytes, hashesOf, idOf, isPageSize, parsePlain, plainOf, type Content, type PageSet} from './pages.js'
import {decrypt, encrypt} from './sealed.js'

/** A page set in a pack, as its footer tells it. */
export interface Entry extends PageSet {
  readonly id: Buffer
  readonly offset: number
  /** Bytes, nonce and tag included. */
  readonly length: number
}

export interface ClosedPack {
  /** SHA-256 of the content, hexadecimal. */
  readonly name: string
  readonly content: readonly Uint8Array[]
  readonly bytes: number
  readonly entries: number
  readonly salt: Buffer
  /** Its end, that `openFooter` reads: for a cache. */
  readonly index: Buffer
}

const blobBinding = (keys: DataKeys, id: Uint8Array, offset: number) => bind('pages', keys.incarnation, Buffer.from(id).toString('hex'), offset)
const footerBinding = (keys: DataKeys, offset: number) => bind('footer', keys.incarnation, offset)

export interface PackWriter {
  readonly salt: Buffer
  readonly bytes: number
  add(content: Content & {readonly id: Buffer}): {offset: number; length: number}
  close(): ClosedPack
}

/** `room` is where it is built, at least the size at which the caller closes it and two extents more. */
export function startPack(keys: DataKeys, codec: Codec, room: Buffer): PackWriter {
  const salt = randomBytes(saltBytes)
  const key = packKey(keys, salt)
  const digest = createHash('sha256')
  const entries: Buffer[] = []
  let at = 0
  const append = (parts: readonly Uint8Array[]) => {
    const from = at
    for (const part of parts) {
      room.set(part, at)
      at += part.length
    }
    digest.update(room.subarray(from, at))
  }
  append([packMagic])
  return {
    salt,
    get bytes() {
      return at
    },
    add(content) {
      const offset = at
      append(encrypt(key, blobBinding(keys, content.id, offset), packed(plainOf(content), codec)))
      const entry = {...content, offset, length: at - offset}
      entries.push(encodeEntry(entry))
      return {offset, length: at - offset}
    },
    close() {
      const sealed = Buffer.concat(encrypt(key, footerBinding(keys, at), entries))
      const index = Buffer.concat([sealed, trailerOf(salt, at, sealed.length)])
      digest.update(index)
      return {name: digest.digest('hex'), content: [room.subarray(0, at), index], bytes: at + index.length, entries: entries.length, salt, index}
    },
  }
}

function trailerOf(salt: Buffer, offset: number, length: number): Buffer {
  const numbers = Buffer.alloc(8)
  numbers.writeUInt32LE(offset, 0)
  numbers.writeUInt32LE(length, 4)
  return Buffer.concat([salt, numbers, packMagic])
}

/** Of an entry in a footer: id, offset and length (uint32 LE), log2 of the page size (uint8), bitmaps, hashes. */
function encodeEntry({id, offset, length, pageSize, listed, stored, hashes}: Entry): Buffer {
  const head = Buffer.alloc(9)
  head.writeUInt32LE(offset, 0)
  head.writeUInt32LE(length, 4)
  head[8] = Math.log2(pageSize)
  return Buffer.concat([id, head, listed, stored, hashes])
}

/** Id, offset, length, log2 of the page size. */
const entryHead = idBytes + 9

/** Where the entry at a position of a footer ends; it is not decoded. */
function endOfEntry(plain: Buffer, at: number): number {
  if (at + entryHead > plain.length) throw new Error('its footer ends in the middle')
  const pageSize = 2 ** (plain[at + entryHead - 1] as number)
  if (!isPageSize(pageSize)) throw new Error(`it has pages of ${pageSize} bytes`)
  const size = bitmapBytes(pageSize)
  const hashes = at + entryHead + 2 * size
  const end = hashes + count(plain, hashes - size, hashes) * hashBytes
  if (end > plain.length) throw new Error('its footer ends in the middle')
  return end
}

function decodeEntry(plain: Buffer, at: number): Entry {
  const pageSize = 2 ** (plain[at + entryHead - 1] as number)
  const [listed, size] = [at + entryHead, bitmapBytes(pageSize)]
  return {
    id: plain.subarray(at, at + idBytes), offset: plain.readUInt32LE(at + idBytes), length: plain.readUInt32LE(at + idBytes + 4), pageSize,
    listed: plain.subarray(listed, listed + size), stored: plain.subarray(listed + size, listed + 2 * size), hashes: plain.subarray(listed + 2 * size, endOfEntry(plain, at)),
  }
}

/** Entries are decoded when they are asked for: as objects they would take several times the memory. */
export interface Footer {
  readonly salt: Buffer
  /** Bytes of memory that it takes, about. */
  readonly memoryBytes: number
  /** The page set at an offset of the pack. */
  at(offset: number): Entry | undefined
  entries(): Iterable<Entry>
}

function footerOf(salt: Buffer, plain: Buffer): Footer {
  const positions = new Map<number, number>()
  for (let at = 0; at < plain.length; ) {
    const end = endOfEntry(plain, at)
    positions.set(plain.readUInt32LE(at + idBytes), at)
    at = end
  }
  return {
    salt: Buffer.from(salt),
    memoryBytes: plain.length + 48 * positions.size,
    at(offset) {
      const position = positions.get(offset)
      return position === undefined ? undefined : decodeEntry(plain, position)
    },
    *entries() {
      for (const position of positions.values()) yield decodeEntry(plain, position)
    },
  }
}

/**
 * Reads the footer out of the last bytes of a pack, or out of all of it. A number: so many of the last bytes are needed.
 * Throws a plain Error when it is not what was written.
 */
export function openFooter(keys: DataKeys, tail: Buffer): Footer | number {
  const trailer = tail.subarray(Math.max(0, tail.length - packTrailerBytes))
  if (trailer.length < packTrailerBytes || !trailer.subarray(saltBytes + 8).equals(packMagic)) throw new Error('it is no pack')
  const salt = trailer.subarray(0, saltBytes)
  const [offset, length] = [trailer.readUInt32LE(saltBytes), trailer.readUInt32LE(saltBytes + 4)]
  const from = tail.length - packTrailerBytes - length
  if (from < 0) return length + packTrailerBytes
  const sealed = tail.subarray(from, from + length)
  return footerOf(salt, decrypt(packKey(keys, salt), footerBinding(keys, offset), sealed))
}

/** A page set, opened: its tag shows that it is what was sealed as that id, at that place of that pack. Throws a plain Error. */
export const openBlob = (keys: DataKeys, key: Buffer, id: Buffer, offset: number, pageSize: number, sealed: Buffer): Omit<Content, 'hashes'> =>
  parsePlain(unpack(decrypt(key, blobBinding(keys, id, offset), sealed)), pageSize)

/** And checked: that its pages are those that its id was made of. Whoever reads a backup back asks; a restore of it need not again. */
export function checkBlob(keys: DataKeys, key: Buffer, id: Buffer, offset: number, pageSize: number, sealed: Buffer): Content {
  const opened = openBlob(keys, key, id, offset, pageSize, sealed)
  const content = {...opened, hashes: hashesOf(keys.page, opened)}
  if (!idOf(keys.id, content).equals(id)) throw new Error('its pages are not those of its id')
  return content
}
