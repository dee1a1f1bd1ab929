/**
 * Proves that a server keeps what everything here rests upon: of writers that create an object at once, one is told that
 * it did. Servers differ (some do not know `If-None-Match: *`, some ignore it, some look before they write and not when),
 * and one and the same may do it in one bucket and not in another (Ceph's gateway: not in one with versions). So it is
 * tried, on objects that are removed again.
 */
import {randomUUID} from 'node:crypto'
import {setTimeout as delay} from 'node:timers/promises'
import {DbaasError} from '../../../core/errors.js'
import type {Client} from './client.js'
import {bodyOf, doubtObject, type Objects} from './objects.js'

const suggestions = ['use a bucket without versions', 'use a server that has conditional writes: Amazon S3, Ceph, MinIO', 'use a folder']

const faithless = (client: Client, because: string): DbaasError =>
  new DbaasError('REPOSITORY_REFUSED', `${client.target.where} cannot be a repository: ${because}`, {details: {repository: client.target.where}, suggestions})

/** How long one writer waits for another that is to come in between. */
const betweenMs = 3000

/** Writers whose answers got lost prove nothing: they are tried so often. */
const tries = 4

/** `folder`: a prefix for keys that nobody else uses. Throws REPOSITORY_REFUSED; leaves nothing. */
export async function proveConditionalWrites(client: Client, objects: Objects, folder: string): Promise<void> {
  const used: string[] = []
  const key = () => {
    const name = `${folder}${randomUUID()}`
    used.push(name)
    return name
  }
  try {
    const roundTripMs = await proveOneAfterTheOther(client, objects, folder, key())
    for (let left = tries; ; left--) {
      try {
        if (await oneWithinTheOther(client, objects, key(), roundTripMs)) break
        if (left === 0) throw faithless(client, 'of two writers that create the same object at once, it tells none that it did')
      } catch (error) {
        if (!(error instanceof DbaasError) || error.code !== 'REPOSITORY_UNAVAILABLE' || left === 0) throw error
      }
    }
    for (let round = 0; round < 2; round++) await proveAllAtOnce(client, objects, key())
  } finally {
    // Old versions of it hold nothing: where they may not be removed, they stay.
    for (const name of used) await objects.erase(name).catch(() => undefined)
  }
}

async function proveOneAfterTheOther(client: Client, objects: Objects, folder: string, key: string): Promise<number> {
  const first = Buffer.from('the first')
  let told: boolean
  try {
    told = await objects.putIfAbsent(key, first)
  } catch (error) {
    // Whatever words it has for it: what a plain write is allowed, and this one is not, is not there.
    if (!(error instanceof DbaasError) || error.code !== 'REPOSITORY_REFUSED') throw error
    await objects.put(key, first)
    throw faithless(client, `it has no conditional writes (If-None-Match: *), so two writers could overwrite each other's backups. It says: ${error.details['reason'] ?? error.message}`)
  }
  if (!told || (await objects.putIfAbsent(key, Buffer.from('the second')))) {
    throw faithless(client, 'it does not heed the condition of a write (If-None-Match: *) in this bucket, so two writers could overwrite each other\'s backups')
  }
  const at = performance.now()
  const found = await objects.get(key, {offset: 4, length: 3})
  const roundTripMs = performance.now() - at
  if (found?.toString() !== 'fir') throw faithless(client, 'it does not give back a part of what was written')
  const {objects: listed} = await objects.list(folder, undefined, 1000)
  if (!listed.some((object) => object.key === key)) throw faithless(client, 'its lists lack what has just been written')
  return roundTripMs
}

/**
 * A begins, B begins and ends, A ends: who looks whether there is an object only when a write begins is caught, each time.
 * False when neither was told that it did, and nothing is there.
 */
async function oneWithinTheOther(client: Client, objects: Objects, key: string, roundTripMs: number): Promise<boolean> {
  const half = Buffer.alloc(32 * 1024, 'a')
  let release = () => {}
  const released = new Promise<void>((resolve) => (release = resolve))
  let begin = () => {}
  const begun = new Promise<void>((resolve) => (begin = resolve))
  async function* slowly() {
    yield half
    begin()
    await released
    yield half
  }
  const body = {...(await bodyOf([half, half])), parts: slowly()}
  const slow = client.call({method: 'PUT', key, urgent: true, once: true, headers: {'if-none-match': '*'}, body, doubt: doubtObject}, [409, 412]).then(({status}) => status < 300)
  // If it fails meanwhile, that is said below.
  slow.catch(() => undefined)
  try {
    await Promise.race([begun, slow])
    // Sent is not yet received.
    await delay(50 + 2 * roundTripMs)
    const fast = objects.putIfAbsent(key, Buffer.from('b'), true)
    fast.catch(() => undefined)
    // A server may make it wait for the other one.
    await Promise.race([fast, delay(betweenMs)])
    release()
    const [a, b] = await Promise.all([slow, fast])
    const found = (await objects.get(key))?.subarray(0, 1).toString()
    if (!a && !b && found === undefined) return false
    if (a === b || found !== (a ? 'a' : 'b')) throw faithless(client, 'two writers that created the same object at once were not told the truth by it (If-None-Match: *)')
    return true
  } finally {
    release()
  }
}

async function proveAllAtOnce(client: Client, objects: Objects, key: string): Promise<void> {
  const won = await Promise.all(Array.from({length: 6}, (_, i) => objects.putIfAbsent(key, Buffer.from(String(i)), true)))
  const found = (await objects.get(key))?.toString()
  if (won.filter(Boolean).length !== 1 || found !== String(won.indexOf(true))) {
    throw faithless(client, `of ${won.length} writers that created the same object at once, it told ${won.filter(Boolean).length} that they did (If-None-Match: *)`)
  }
}
