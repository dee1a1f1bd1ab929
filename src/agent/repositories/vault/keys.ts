/**
 * Keys of a repository. Every incarnation (a history of data) has a data key of its own, 256 random bits, which lies in
 * the repository wrapped by the site's master key. Who destroys the wrapped copies has destroyed all of the incarnation.
 */
import {createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes} from 'node:crypto'
import {DbaasError} from '../../../core/errors.js'
import {listAll, type ObjectStore} from '../repository.js'
import {bind, damaged, keyMagic, nonceBytes, objects, tagBytes} from './format.js'
import type {MasterKey} from './master-key.js'

export interface DataKeys {
  readonly repositoryId: string
  readonly incarnation: string
  /** The data key itself: for workers, and for `keys export`. */
  readonly data: Buffer
  /** HMAC keys of blob ids and of page hashes. */
  readonly id: Buffer
  readonly page: Buffer
  /** Of which every pack derives its own, with its salt. */
  readonly pack: Buffer
  /** Of sealed objects. */
  readonly object: Buffer
}

const isIncarnation = (text: string): boolean => /^[a-z0-9][a-z0-9-]{7,63}$/.test(text) && text !== objects.repository

/** HKDF-SHA-256 (RFC 5869). */
const derive = (key: Buffer, salt: string | Uint8Array, purpose: string): Buffer => Buffer.from(hkdfSync('sha256', key, salt, bind(purpose), 32))

export function deriveKeys(data: Buffer, repositoryId: string, incarnation: string): DataKeys {
  const of = (purpose: string) => derive(data, incarnation, purpose)
  return {repositoryId, incarnation, data, id: of('id'), page: of('page'), pack: of('pack'), object: of('object')}
}

export const packKey = (keys: DataKeys, salt: Uint8Array): Buffer => derive(keys.pack, salt, 'contents of a pack')

/** Which master key wrapped it: tells a wrong key from a damaged object, and tells nothing of the key. */
export const masterKeyId = (master: Buffer): Buffer => createHash('sha256').update(bind('master key')).update(master).digest().subarray(0, 8)

/** Layout: magic, id of the master key (8 bytes), nonce, wrapped key (32), tag, SHA-256 of all before. */
const keyBytes = keyMagic.length + 8 + nonceBytes + 32 + tagBytes + 32

const wrapBinding = (repositoryId: string, incarnation: string, name: string, id: Buffer) =>
  bind('data key', repositoryId, incarnation, name, id.toString('hex'))

function wrap(master: Buffer, data: Buffer, repositoryId: string, incarnation: string, name: string): Buffer {
  const id = masterKeyId(master)
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv('aes-256-gcm', master, nonce)
  cipher.setAAD(wrapBinding(repositoryId, incarnation, name, id))
  const body = Buffer.concat([keyMagic, id, nonce, cipher.update(data), cipher.final(), cipher.getAuthTag()])
  return Buffer.concat([body, createHash('sha256').update(body).digest()])
}

function unwrap(master: Buffer, wrapped: Buffer, repositoryId: string, incarnation: string, name: string): Buffer {
  const object = `${incarnation}/${name}`
  if (whyNotIntactKey(wrapped) !== undefined) throw damaged(object, whyNotIntactKey(wrapped) as string)
  const [id, nonce] = [wrapped.subarray(8, 16), wrapped.subarray(16, 28)]
  if (!id.equals(masterKeyId(master))) {
    throw new DbaasError('KEY_UNAVAILABLE', `the data key of ${incarnation} is wrapped by the master key ${id.toString('hex')}, and this one is ${masterKeyId(master).toString('hex')}`, {
      details: {object, wrapped_by: id.toString('hex')}, suggestions: ['put back the master key that the backups were made with'],
    })
  }
  try {
    const decipher = createDecipheriv('aes-256-gcm', master, nonce, {authTagLength: tagBytes})
    decipher.setAAD(wrapBinding(repositoryId, incarnation, name, id))
    decipher.setAuthTag(wrapped.subarray(60, 76))
    return Buffer.concat([decipher.update(wrapped.subarray(28, 60)), decipher.final()])
  } catch (cause) {
    throw damaged(object, 'it is not the key that was written there', cause)
  }
}

/** Needs no key. */
export function whyNotIntactKey(wrapped: Buffer): string | undefined {
  if (wrapped.length !== keyBytes) return `a wrapped key has ${keyBytes} bytes, and this ${wrapped.length}`
  if (!wrapped.subarray(0, 8).equals(keyMagic)) return 'it does not begin as one'
  const body = wrapped.subarray(0, keyBytes - 32)
  return createHash('sha256').update(body).digest().equals(wrapped.subarray(body.length)) ? undefined : 'its checksum does not match'
}

const nameOf = (incarnation: string, generation: number) => `${incarnation}/${objects.key(generation)}`

/** Generations of wrapped copies that are there, the newest first. */
async function generations(store: ObjectStore, incarnation: string): Promise<number[]> {
  const found: number[] = []
  for await (const {name} of listAll(store, `${incarnation}/keys/`)) {
    const [, number] = /\/(\d{8,15})$/.exec(name) ?? []
    if (number !== undefined) found.push(Number(number))
  }
  return found.reverse()
}

export const hasDataKey = async (store: ObjectStore, incarnation: string): Promise<boolean> => (await generations(store, incarnation)).length > 0

/** Makes the data key of a new incarnation, or opens the one that is there. */
export async function createDataKeys(store: ObjectStore, repositoryId: string, incarnation: string, master: MasterKey): Promise<DataKeys> {
  if (!isIncarnation(incarnation)) throw new DbaasError('INTERNAL', `"${incarnation}" is not the id of an incarnation`)
  const key = await master.load()
  if ((await generations(store, incarnation)).length === 0) {
    await store.putIfAbsent(nameOf(incarnation, 1), wrap(key, randomBytes(32), repositoryId, incarnation, objects.key(1)))
    await store.barrier()
  }
  return openDataKeys(store, repositoryId, incarnation, master)
}

/** Throws KEY_UNAVAILABLE when it is destroyed, was never made, or another master key wrapped it; REPOSITORY_DAMAGED. */
export async function openDataKeys(store: ObjectStore, repositoryId: string, incarnation: string, master: MasterKey): Promise<DataKeys> {
  const key = await master.load()
  let problem: unknown = new DbaasError('KEY_UNAVAILABLE', `the repository has no key of ${incarnation}: it is destroyed, or was never made`, {details: {incarnation}})
  for (const generation of await generations(store, incarnation)) {
    try {
      const wrapped = await store.get(nameOf(incarnation, generation))
      return deriveKeys(unwrap(key, wrapped, repositoryId, incarnation, objects.key(generation)), repositoryId, incarnation)
    } catch (error) {
      // A rotation that was interrupted leaves two: the older master key opens the older one.
      if (!(error instanceof DbaasError) || (error.code !== 'KEY_UNAVAILABLE' && error.code !== 'REPOSITORY_DAMAGED')) throw error
      problem = error
    }
  }
  throw problem
}

/** Adds a wrapped copy by that master key: durable, read back and opened. */
export async function wrapAgain(store: ObjectStore, {repositoryId, incarnation, data}: DataKeys, master: MasterKey): Promise<void> {
  const key = await master.load()
  const generation = ((await generations(store, incarnation))[0] ?? 0) + 1
  const name = nameOf(incarnation, generation)
  await store.putIfAbsent(name, wrap(key, data, repositoryId, incarnation, objects.key(generation)))
  await store.barrier()
  const back = unwrap(key, await store.get(name), repositoryId, incarnation, objects.key(generation))
  if (!back.equals(data)) throw damaged(name, 'it is not the key that was written there')
}

/**
 * Wraps the data key by another master key, and says whether there was anything to do. The new copy is durable, read back
 * and opened before old ones are erased; run again after a crash it ends the same. What was read under the old master key
 * before is of course known to its thief.
 */
export async function rewrapDataKey(store: ObjectStore, repositoryId: string, incarnation: string, from: MasterKey, to: MasterKey): Promise<boolean> {
  const old = await generations(store, incarnation)
  const already = await openDataKeys(store, repositoryId, incarnation, to).catch((error: unknown) => {
    if (!(error instanceof DbaasError) || (error.code !== 'KEY_UNAVAILABLE' && error.code !== 'REPOSITORY_DAMAGED')) throw error
  })
  if (already && old.length === 1) return false
  await wrapAgain(store, already ?? (await openDataKeys(store, repositoryId, incarnation, from)), to)
  for (const gone of old) await store.delete(nameOf(incarnation, gone), {erase: true})
  await store.barrier()
  return true
}

/** Crypto-shredding: from here on nothing of the incarnation can be read by anybody. Its objects are `removeIncarnation`'s. */
export async function destroyDataKey(store: ObjectStore, incarnation: string): Promise<void> {
  for (const generation of await generations(store, incarnation)) await store.delete(nameOf(incarnation, generation), {erase: true})
  await store.barrier()
}
