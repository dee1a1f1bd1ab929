/** A bucket of any server that speaks S3 as a repository. */
import {DbaasError} from '../../../core/errors.js'
import {assertObjectName, isNamePart, missing, type ObjectFacts, type ObjectStore} from '../repository.js'
import type {Settings} from '../settings.js'
import {createClient, type Call, type Client, type Machinery} from './client.js'
import {refusal, said} from './errors.js'
import {bodyOf, createObjects} from './objects.js'
import {optionsOf, resolveTarget, type S3Options} from './options.js'
import {proveConditionalWrites} from './proof.js'

export type {S3Options} from './options.js'

/** Begins with a dot, as no object's name does. */
const probes = '.probes/'

/** What others keep in the bucket is none of ours. */
const isObjectName = (name: string): boolean => name.length <= 500 && name.split('/', 9).length <= 8 && name.split('/').every(isNamePart)

/**
 * An object is an object; its key is its name behind the prefix. It is sent in one request with its length and hash, so a
 * server stores all of it or nothing, and what it has acknowledged is durable: `barrier` has nothing to do. Whether
 * `putIfAbsent` is what it must be is proven by `prepare`.
 *
 * A replacing `put` that was tried twice leans on the server to order writes by when they arrived, as Amazon's does.
 *
 * Throws INVALID_REQUEST, and REPOSITORY_REFUSED where credentials are missing. The server is not asked yet.
 */
export function openS3(options: S3Options, machinery?: Machinery): ObjectStore {
  const target = resolveTarget(options)
  const client = createClient(target, machinery)
  const objects = createObjects(client)
  const {where, prefix} = target
  const keyOf = (name: string) => {
    assertObjectName(name)
    return prefix + name
  }
  let proven: Promise<void> | undefined

  /** Removes what a proof of a process that died has left. */
  async function tidy(olderThanMs: number): Promise<number> {
    let removed = 0
    for (let after: string | undefined, more = true; more; ) {
      const page = await objects.list(prefix + probes, after, 1000)
      for (const {key} of page.objects) {
        if (Number(key.slice((prefix + probes).length).split('-')[0]) > Date.now() - olderThanMs) continue
        removed += await objects.erase(key).then(() => 1, () => 0)
      }
      after = page.objects.at(-1)?.key
      more = page.more && after !== undefined
    }
    return removed
  }

  return {
    kind: 's3',
    where,

    async prepare() {
      await ensureBucket(client)
      proven ??= proveConditionalWrites(client, objects, `${prefix}${probes}${Date.now()}-`)
      await proven.catch((error: unknown) => {
        proven = undefined
        throw error
      })
    },

    put: async (name, content, {urgent} = {}) => objects.put(keyOf(name), content, urgent),
    putIfAbsent: async (name, content, {urgent} = {}) => objects.putIfAbsent(keyOf(name), content, urgent),
    barrier: async () => undefined,

    async get(name, range) {
      const found = await objects.get(keyOf(name), range)
      if (found === undefined) throw missing(where, name)
      return found
    },

    async stat(name) {
      const found = await objects.facts(keyOf(name))
      return found && {name, size: found.size, modifiedAt: found.modifiedAt}
    },

    async list(from, {after, limit = 1000} = {}) {
      for (let last = after === undefined ? undefined : prefix + after; ; ) {
        const page = await objects.list(prefix + from, last, Math.min(limit, 1000))
        const found = page.objects.flatMap(({key, size, modifiedAt}): ObjectFacts[] => {
          const name = key.slice(prefix.length)
          return isObjectName(name) ? [{name, size, modifiedAt}] : []
        })
        last = page.objects.at(-1)?.key
        if (found.length > 0 || !page.more || last === undefined) return {objects: found, more: page.more && found.length > 0}
      }
    },

    delete: async (name, {erase = false} = {}) => (erase ? objects.erase(keyOf(name)) : objects.delete(keyOf(name))),
    tidy,
  }
}

/** By the settings of its record, which are named as in S3Options, those of the credentials among them. Throws what `openS3` throws. */
export const openConfiguredS3 = (settings: Settings, machinery?: Machinery): ObjectStore => openS3(optionsOf(settings), machinery)

/** Makes it if it is not there and may be made. */
async function ensureBucket(client: Client): Promise<void> {
  const {target} = client
  const there = await client.call({method: 'GET', query: {'list-type': '2', 'max-keys': '1', prefix: target.prefix}}, [404])
  if (there.status !== 404) return
  if (said(there).code !== 'NoSuchBucket') throw refusal(target, there)
  const made = await client.call({method: 'PUT', ...(await regionOf(client))}, [409])
  const {code} = made.status === 409 ? said(made) : {code: ''}
  if (code === 'BucketAlreadyExists') {
    throw new DbaasError('REPOSITORY_REFUSED', `the bucket ${target.bucket} is somebody else's`, {details: {repository: target.where}, suggestions: ['choose another name']})
  }
  if (code !== '' && code !== 'BucketAlreadyOwnedByYou') throw refusal(target, made)
}

/** Amazon wants to be told where, but for its first region; others have one region, or names of their own for them. */
async function regionOf({target}: Client): Promise<Pick<Call, 'body'>> {
  if (!target.amazon || target.region === 'us-east-1') return {}
  const xml = `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>${target.region}</LocationConstraint></CreateBucketConfiguration>`
  return {body: await bodyOf(Buffer.from(xml))}
}
