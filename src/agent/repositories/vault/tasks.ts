/** What is asked of a worker thread, and what it answers. Plain data: it is cloned, and large buffers are handed over. */
import type {Codec} from './codec.js'

/** Keys as they travel: a Buffer would take along the memory around it. */
export interface KeyText {
  readonly incarnation: string
  readonly repositoryId: string
  /** Hexadecimal. */
  readonly data: string
}

/** A page set that is stored (`pages`: how many it lists): in a pack of the asked thread and session, by its number there; or one that was known. */
export type Stored =
  | {readonly id: Uint8Array; readonly pages: number; readonly pack: number; readonly offset: number; readonly length: number}
  | {readonly known: number}

export interface PackDone {
  readonly pack: number
  readonly name: string
  readonly salt: Uint8Array
  readonly bytes: number
  readonly entries: number
  readonly content: readonly Uint8Array[]
  readonly index: Uint8Array
}

export interface Before {
  /** By `overlay`: what the extent holds in the previous snapshot. */
  readonly hashes: Uint8Array
  readonly touched: Uint8Array
}

/** Where the sealed bytes of a page set are among the `ranges` of the request. */
export interface SealedBlob {
  readonly id: Uint8Array
  readonly salt: Uint8Array
  /** In its pack. */
  readonly offset: number
  readonly range: number
  readonly at: number
  readonly length: number
}

export interface StoreExtent {
  readonly kind: 'store'
  readonly session: string
  readonly pageSize: number
  /** Of the extent as it is now: those beyond are none of the file's. */
  readonly pages: number
  /** Page sets that the extent consists of in the previous snapshot, and how many pages those above the lowest list. */
  readonly depth: number
  readonly deltaPages: number
  readonly before: Before | null
  readonly content:
    /** All pages, one after the other, the last one filled up with zeros. */
    | {readonly kind: 'whole'; readonly bytes: Uint8Array}
    | {
        readonly kind: 'changed'
        /** The pages that are given, and they themselves one after the other. */
        readonly given: Uint8Array
        readonly bytes: Uint8Array
        /** Pages that are zero now, whatever was there: looked up in `before`, which is then not null. */
        readonly zeroed: Uint8Array | null
        /** Page sets to be merged with what is given: all of the extent's, or those above the lowest. */
        readonly merge: {readonly all: boolean; readonly ranges: readonly Uint8Array[]; readonly blobs: readonly SealedBlob[]} | null
      }
}

export type Outcome =
  | {readonly kind: 'same'}
  /** Zeros, or nothing. */
  | {readonly kind: 'zero'}
  /** The extent is this page set alone; or this one upon those of before; or upon the lowest of before. */
  | {readonly kind: 'whole' | 'delta' | 'merged'; readonly stored: Stored}

export interface Extent {
  readonly pageSize: number
  /** Bytes wanted of its beginning. */
  readonly length: number
  /** From the lowest to the uppermost. */
  readonly blobs: readonly SealedBlob[]
}

export interface ExpectedBlob {
  readonly id: Uint8Array
  readonly offset: number
  readonly length: number
}

export interface Requests {
  open: {
    readonly kind: 'open'; readonly session: string; readonly keys: KeyText; readonly codec: Codec; readonly packBytes: number
    /** Ids that need not be stored again, one after the other: each is answered by its number among them. */
    readonly known: Uint8Array
  }
  store: StoreExtent
  finish: {readonly kind: 'finish'; readonly session: string}
  forget: {readonly kind: 'forget'; readonly session: string}
  assemble: {readonly kind: 'assemble'; readonly keys: KeyText; readonly ranges: readonly Uint8Array[]; readonly extents: readonly Extent[]}
  verify: {
    readonly kind: 'verify'; readonly keys: KeyText; readonly name: string; readonly content: Uint8Array
    readonly salt: Uint8Array; readonly blobs: readonly ExpectedBlob[]
  }
  seal: {readonly kind: 'seal'; readonly keys: KeyText; readonly name: string; readonly parts: readonly Uint8Array[]; readonly codec: Codec}
  unseal: {readonly kind: 'unseal'; readonly keys: KeyText; readonly name: string; readonly sealed: Uint8Array}
  hash: {readonly kind: 'hash'; readonly content: Uint8Array}
  intact: {readonly kind: 'intact'; readonly name: string; readonly content: Uint8Array}
}

export interface Answers {
  open: null
  /** `spare`: the memory of `bytes`, given back. `packs`: those that are full. */
  store: {readonly outcome: Outcome; readonly packs: readonly PackDone[]; readonly spare: Uint8Array}
  finish: {readonly packs: readonly PackDone[]}
  forget: null
  assemble: {readonly extents: readonly Uint8Array[]}
  /** Why the pack is not what was written; undefined when it is. */
  verify: {readonly because?: string; readonly blobs: number; readonly pages: number}
  seal: {readonly sealed: Uint8Array}
  unseal: {readonly plain: Uint8Array}
  hash: {readonly sha256: string}
  /** Why the object is not what was written, as far as can be told without a key; and the content, given back. */
  intact: {readonly because?: string; readonly content: Uint8Array}
}

export type Kind = keyof Requests
export type Request = Requests[Kind]
