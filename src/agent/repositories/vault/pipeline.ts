/** What a worker thread does: hash, compare, compress, encrypt, pack; and the way back. Without threads it runs in place. */
import {createHash} from 'node:crypto'
import {DbaasError} from '../../../core/errors.js'
import {count} from './bitmap.js'
import type {Codec} from './codec.js'
import {extentBytes, hashBytes, idBytes} from './format.js'
import {whyDamaged} from './intact.js'
import {deriveKeys, packKey, type DataKeys} from './keys.js'
import {checkBlob, openBlob, openFooter, startPack, type PackWriter} from './packs.js'
import {apply, idOf, type Content} from './pages.js'
import {openObject, sealObject} from './sealed.js'
import {decide, type Decision} from './store-extent.js'
import type {Answers, Kind, KeyText, Outcome, PackDone, Request, Requests, SealedBlob, StoreExtent, Stored} from './tasks.js'

export interface Pipeline {
  handle<K extends Kind>(request: Requests[K] & {kind: K}): Answers[K]
  /** Gives back the memory of a pack that is written. */
  reuse(room: ArrayBuffer): void
}

interface Session {
  readonly keys: DataKeys
  readonly codec: Codec
  readonly packBytes: number
  readonly known: ReadonlyMap<string, number>
  /** What this thread has stored in this session, by id. */
  readonly own: Map<string, Stored>
  pack: PackWriter | undefined
  packs: number
}

const buffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)

export function createPipeline(): Pipeline {
  const sessions = new Map<string, Session>()
  const spare: ArrayBuffer[] = []
  const cache = new Map<string, DataKeys>()

  function keysOf({incarnation, repositoryId, data}: KeyText): DataKeys {
    const name = `${incarnation} ${data}`
    const keys = cache.get(name) ?? deriveKeys(Buffer.from(data, 'hex'), repositoryId, incarnation)
    cache.set(name, keys)
    if (cache.size > 64) cache.delete(cache.keys().next().value as string)
    return keys
  }

  function roomFor(packBytes: number): Buffer {
    const needed = packBytes + 2 * extentBytes
    const at = spare.findIndex((room) => room.byteLength === needed)
    return Buffer.from(at === -1 ? new ArrayBuffer(needed) : (spare.splice(at, 1)[0] as ArrayBuffer))
  }

  function close(session: Session): PackDone[] {
    if (session.pack === undefined) return []
    const done = session.pack.close()
    session.pack = undefined
    return [{...done, pack: session.packs++}]
  }

  function storeSet(session: Session, content: Content): Stored {
    const id = idOf(session.keys.id, content)
    const name = id.toString('latin1')
    const known = session.known.get(name)
    if (known !== undefined) return {known}
    const own = session.own.get(name)
    if (own !== undefined) return own
    session.pack ??= startPack(session.keys, session.codec, roomFor(session.packBytes))
    const {offset, length} = session.pack.add({...content, id})
    const stored: Stored = {id: Uint8Array.from(id), pages: count(content.listed), pack: session.packs, offset, length}
    session.own.set(name, stored)
    return stored
  }

  const openAll = <Opened>(open: (...blob: Parameters<typeof openBlob>) => Opened, keys: DataKeys, pageSize: number, ranges: readonly Uint8Array[], blobs: readonly SealedBlob[]): Opened[] =>
    blobs.map(({id, salt, offset, range, at, length}) => {
      const sealed = buffer((ranges[range] as Uint8Array).subarray(at, at + length))
      try {
        return open(keys, packKey(keys, salt), buffer(id), offset, pageSize, sealed)
      } catch (cause) {
        if (cause instanceof DbaasError) throw cause
        throw new DbaasError('REPOSITORY_DAMAGED', `a page set of ${keys.incarnation} is damaged: ${(cause as Error).message}`, {
          cause, details: {id: buffer(id).toString('hex'), offset: String(offset)},
        })
      }
    })

  function store(request: StoreExtent): Answers['store'] {
    const session = sessionOf(request.session)
    const merge = request.content.kind === 'changed' ? request.content.merge : null
    const opened = merge === null ? [] : openAll(checkBlob, session.keys, request.pageSize, merge.ranges, merge.blobs)
    const decision: Decision = decide(session.keys, request, opened)
    const outcome: Outcome = 'content' in decision ? {kind: decision.kind, stored: storeSet(session, decision.content)} : {kind: decision.kind}
    const full = session.pack !== undefined && session.pack.bytes >= session.packBytes
    return {outcome, packs: full ? close(session) : [], spare: request.content.bytes}
  }

  function verify({keys: text, name, content, salt, blobs}: Requests['verify']): Answers['verify'] {
    const keys = keysOf(text)
    const bytes = buffer(content)
    const checked = {blobs: 0, pages: 0}
    try {
      if (createHash('sha256').update(bytes).digest('hex') !== name) throw new Error('it does not hash to its name')
      const footer = openFooter(keys, bytes)
      if (typeof footer === 'number') throw new Error('its footer is longer than it is')
      if (!footer.salt.equals(salt)) throw new Error('it has another salt')
      const key = packKey(keys, salt)
      for (const {id, offset, length} of blobs) {
        const entry = footer.at(offset)
        if (!entry || entry.length !== length || !entry.id.equals(id)) throw new Error(`its footer does not know the page set at ${offset}`)
        const opened = checkBlob(keys, key, entry.id, offset, entry.pageSize, bytes.subarray(offset, offset + length))
        if (Buffer.compare(opened.hashes, entry.hashes) !== 0) throw new Error(`the pages at ${offset} have other hashes than its footer says`)
        checked.blobs++
        checked.pages += entry.hashes.length / hashBytes
      }
      return checked
    } catch (error) {
      // This Node lacks the codec: that says nothing of the pack.
      if (error instanceof DbaasError && error.code === 'NOT_SUPPORTED') throw error
      return {because: (error as Error).message, ...checked}
    }
  }

  /** Between backups a thread keeps no memory for packs: there are hours between them. */
  function end(session: string): void {
    sessions.delete(session)
    if (sessions.size === 0) spare.splice(0)
  }

  function sessionOf(name: string): Session {
    const session = sessions.get(name)
    if (!session) throw new DbaasError('INTERNAL', `the worker does not know the session ${name}: it was restarted`)
    return session
  }

  const handlers: {[K in Kind]: (request: Requests[K]) => Answers[K]} = {
    open({session, keys, codec, packBytes, known}) {
      const ids = buffer(known)
      const numbers = new Map<string, number>()
      for (let at = 0; at < ids.length; at += idBytes) numbers.set(ids.toString('latin1', at, at + idBytes), at / idBytes)
      sessions.set(session, {keys: keysOf(keys), codec, packBytes, known: numbers, own: new Map(), pack: undefined, packs: 0})
      return null
    },
    store,
    finish({session}) {
      const packs = close(sessionOf(session))
      end(session)
      return {packs}
    },
    forget({session}) {
      end(session)
      return null
    },
    assemble({keys: text, ranges, extents}) {
      const keys = keysOf(text)
      return {
        extents: extents.map(({pageSize, length, blobs}) => {
          const bytes = new Uint8Array(Math.ceil(length / pageSize) * pageSize)
          for (const content of openAll(openBlob, keys, pageSize, ranges, blobs)) apply(content, bytes)
          return bytes.subarray(0, length)
        }),
      }
    },
    verify,
    seal: ({keys: text, name, parts, codec}) => {
      const keys = keysOf(text)
      return {sealed: sealObject(keys.object, keys.incarnation, name, Buffer.concat(parts), codec)}
    },
    unseal: ({keys: text, name, sealed}) => {
      const keys = keysOf(text)
      return {plain: openObject(keys.object, keys.incarnation, name, buffer(sealed))}
    },
    intact: ({name, content}) => {
      const because = whyDamaged(name, buffer(content))
      return {content, ...(because === undefined ? {} : {because})}
    },
    hash: ({content}) => ({sha256: createHash('sha256').update(content).digest('hex')}),
  }

  return {
    handle: <K extends Kind>(request: Requests[K] & {kind: K}) => (handlers[request.kind] as (request: Request) => Answers[K])(request),
    reuse: (room) => {
      if (sessions.size > 0 && spare.length < 2) spare.push(room)
    },
  }
}
