/** Objects by their keys: what S3 has, without what the promise of a repository adds to it. */
import {createHash, randomUUID} from 'node:crypto'
import {setImmediate as turn} from 'node:timers/promises'
import {lengthOf, partsOf, type Content, type Range} from '../repository.js'
import type {Call, Client} from './client.js'
import {refusal, said, unavailable} from './errors.js'
import type {Answer} from './exchange.js'
import {doubtOf, partOf, rangeHeader, sizeBy} from './ranges.js'
import {parsePage, parseVersions, type Page} from './xml.js'

export interface Facts {
  readonly size: number
  readonly modifiedAt: number
  /** Which call of `put` made it. */
  readonly writer: string | undefined
}

export interface Objects {
  put(key: string, content: Content, urgent?: boolean): Promise<void>
  /** False when another one was there. */
  putIfAbsent(key: string, content: Content, urgent?: boolean): Promise<boolean>
  /** Undefined when absent. */
  get(key: string, range?: Range): Promise<Buffer | undefined>
  facts(key: string): Promise<Facts | undefined>
  list(prefix: string, after: string | undefined, limit: number): Promise<Page>
  delete(key: string): Promise<void>
  /** And every version of it that the bucket keeps. */
  erase(key: string): Promise<void>
}

/** Says which call wrote an object. */
export const writerHeader = 'x-amz-meta-dbaas-writer'

/** Whatever stands between us and the server may say yes, too, and mean something else. */
export const doubtObject = ({headers}: Answer): string | undefined => (headers.etag === undefined ? 'its answer is none about an object' : undefined)

/** Bytes that are hashed before others have their turn: a millisecond. */
const sliceBytes = 1024 * 1024

/** Hashed once, however often it is sent. The server compares, so what arrives changed is not stored. */
export async function bodyOf(content: Content): Promise<NonNullable<Call['body']>> {
  const parts = partsOf(content)
  const hash = createHash('sha256')
  let sinceTurn = 0
  for (const part of parts) {
    for (let at = 0; at < part.length; at += sliceBytes) {
      const slice = part.subarray(at, at + sliceBytes)
      if ((sinceTurn += slice.length) > sliceBytes) {
        await turn()
        sinceTurn = slice.length
      }
      hash.update(slice)
    }
  }
  return {length: lengthOf(content), parts, sha256: hash.digest('hex')}
}

export function createObjects(client: Client): Objects {
  const {target} = client
  const isAbsent = (answer: Answer) => answer.status === 404 && ['NoSuchKey', 'NoSuchVersion'].includes(said(answer).code)
  /** Undefined for an object that is not there. That there is no bucket, or no S3 server, is another thing. */
  const unlessAbsent = (answer: Answer): Answer | undefined => {
    if (answer.status !== 404) return answer
    if (isAbsent(answer)) return undefined
    throw refusal(target, answer)
  }
  const modifiedAt = ({headers}: Answer) => Date.parse(headers['last-modified'] ?? '')
  const factsBy = (answer: Answer, size: number): Facts => ({size, modifiedAt: modifiedAt(answer), writer: answer.headers[writerHeader] as string | undefined})

  const doubtDeleted = ({body}: Answer) => (body.length > 0 ? 'its answer is none to a deletion' : undefined)

  /** Of one for which no range could be given: it is empty, or ends before it. */
  async function head(key: string): Promise<Facts | undefined> {
    const answer = await client.call({
      method: 'HEAD', key, doubt: ({headers}) => (/^\d+$/.test(headers['content-length'] ?? '') ? undefined : 'its answer does not say how long the object is'),
    }, [404])
    return answer.status === 404 ? undefined : factsBy(answer, Number(answer.headers['content-length']))
  }

  async function facts(key: string, urgent = false): Promise<Facts | undefined> {
    // Not HEAD: an answer to that cannot say what it is that is not there.
    const first = {offset: 0, length: 1}
    const answer = unlessAbsent(await client.call({method: 'GET', key, urgent, headers: {range: rangeHeader(first)}, doubt: (one) => doubtObject(one) ?? doubtOf(first, one)}, [404, 416]))
    if (answer === undefined) return undefined
    return answer.status === 416 ? head(key) : factsBy(answer, sizeBy(answer) as number)
  }

  return {
    async put(key, content, urgent = false) {
      await client.call({method: 'PUT', key, urgent, headers: {'content-type': 'application/octet-stream'}, body: await bodyOf(content), doubt: doubtObject})
    },

    async putIfAbsent(key, content, urgent = false) {
      const writer = randomUUID()
      const headers = {'content-type': 'application/octet-stream', 'if-none-match': '*', [writerHeader]: writer}
      const answer = await client.call({method: 'PUT', key, urgent, headers, body: await bodyOf(content), doubt: doubtObject}, [412])
      if (answer.status !== 412) return true
      // The one that is there may be ours: of a try whose answer got lost, here or by something between us and the server.
      const there = await facts(key, urgent)
      if (there === undefined) throw unavailable(target, `the object ${key} was there and is gone`)
      return there.writer === writer
    },

    async get(key, range) {
      if (range !== undefined && ('last' in range ? range.last : range.length) === 0) return (await facts(key)) && Buffer.alloc(0)
      const answer = unlessAbsent(await client.call({method: 'GET', key, headers: {range: rangeHeader(range)}, doubt: (one) => doubtObject(one) ?? doubtOf(range, one)}, [404, 416]))
      if (answer === undefined) return undefined
      if (answer.status !== 416) return partOf(range, answer)
      const there = await head(key)
      if (there === undefined) return undefined
      if (there.size > (range && 'offset' in range ? range.offset : 0)) throw unavailable(target, `it has ${there.size} bytes of ${key} and does not give them`)
      return Buffer.alloc(0)
    },

    facts,

    async list(prefix, after, limit) {
      const query = {'list-type': '2', 'encoding-type': 'url', prefix, 'max-keys': String(limit), ...(after === undefined ? {} : {'start-after': after})}
      const answer = await client.call({method: 'GET', query, doubt: ({body}) => (parsePage(body) ? undefined : 'its list is not whole')})
      return parsePage(answer.body) as Page
    },

    async delete(key) {
      unlessAbsent(await client.call({method: 'DELETE', key, doubt: doubtDeleted}, [404]))
    },

    async erase(key) {
      await this.delete(key)
      // Newest first, a page at a time, until there are none: those of other keys come behind.
      for (let last = ''; ; ) {
        const query = {versions: '', 'encoding-type': 'url', prefix: key, 'max-keys': '100'}
        const answer = await client.call({method: 'GET', query, doubt: ({body}) => (parseVersions(body) ? undefined : 'its list is not whole')}, [405, 501])
        if (answer.status >= 300) return
        const ids = (parseVersions(answer.body) ?? []).filter((version) => version.key === key).map(({id}) => id)
        if (ids.length === 0) return
        if (ids.join() === last) throw unavailable(target, `versions of ${key} stay though they were deleted`)
        last = ids.join()
        for (const id of ids) unlessAbsent(await client.call({method: 'DELETE', key, query: {versionId: id}, doubt: doubtDeleted}, [404]))
      }
    },
  }
}
