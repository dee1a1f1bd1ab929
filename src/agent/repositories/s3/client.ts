/**
 * Requests to one bucket: signed, so many at once, tried again while that may help and there is time. What comes back is
 * an answer that trying again would not change; every other end is a DbaasError.
 */
import {setTimeout as delay} from 'node:timers/promises'
import type {LookupFunction} from 'node:net'
import {DbaasError} from '../../../core/errors.js'
import {backoffMs} from '../../../core/workflow/backoff.js'
import {connectionTrouble, isPassing, refusal, retryAfterMs, said, unavailable} from './errors.js'
import {createExchange, type Answer, type Limits, type Outgoing} from './exchange.js'
import type {Target} from './options.js'
import {encode, queryText, signed} from './sign.js'
import {createSlots} from './slots.js'

export interface Pace extends Limits {
  /**
   * No try begins later than that after the first, but for the second one: a large object on a slow line has taken longer
   * when it fails. So a call ends within the patience and two exchanges.
   */
  readonly patienceMs: number
  /** Between two tries at first, and at most. */
  readonly backoffMs: number
  readonly backoffCapMs: number
  /** Calls at once; those that are urgent come on top. */
  readonly concurrency: number
}

export const usualPace: Pace = {
  connectMs: 10_000, idleMs: 30_000, attemptMs: 30_000, slowestBytesPerSecond: 16 * 1024, patienceMs: 60_000, backoffMs: 100, backoffCapMs: 10_000, concurrency: 16,
}

export interface Call {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'DELETE'
  /** Key in the bucket; undefined: the bucket. */
  readonly key?: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: NonNullable<Outgoing['body']> & {readonly sha256: string}
  /** It does not wait in line. */
  readonly urgent?: boolean
  /** Why a successful answer is not to be believed: then it is asked again. */
  readonly doubt?: (answer: Answer) => string | undefined
  /** Not tried again, whatever happens: the body can be sent but once. */
  readonly once?: boolean
}

export interface Client {
  readonly target: Target
  /** An answer whose status is below 300 or among `expected`. Throws REPOSITORY_UNAVAILABLE, REPOSITORY_REFUSED, DISK_FULL. */
  call(call: Call, expected?: readonly number[]): Promise<Answer>
}

/** SHA-256 of nothing. */
const emptySha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

export interface Machinery {
  readonly pace?: Partial<Pace>
  readonly lookup?: LookupFunction
  /** In [0, 1). */
  readonly random?: () => number
  /** Milliseconds since the epoch: signatures are valid for minutes. */
  readonly now?: () => number
}

export function createClient(target: Target, {pace: own = {}, lookup, random = Math.random, now = Date.now}: Machinery = {}): Client {
  const pace: Pace = {...usualPace, ...own}
  const exchange = createExchange(target, pace, lookup)
  const slots = createSlots(pace.concurrency)
  /** The server's clock minus ours, once it has complained. */
  let skew = 0

  function attempt({method, key, query = {}, headers = {}, body}: Call): Promise<Answer> {
    const path = key === undefined ? target.base || '/' : `${target.base}/${key.split('/').map(encode).join('/')}`
    const all = signed({
      method, path, query, headers: {...headers, host: target.authority}, sha256: body?.sha256 ?? emptySha256,
    }, target.credentials, target.region, now() + skew)
    const search = queryText(query)
    // A PUT without a body says so.
    const sent = body ?? (method === 'PUT' ? {length: 0, parts: []} : undefined)
    return exchange({method, path: search === '' ? path : `${path}?${search}`, headers: all, ...(sent ? {body: sent} : {})})
  }

  /** Whether the server's clock is another one than we thought: then its time is used. */
  function adjusts(answer: Answer): boolean {
    const theirs = Date.parse(answer.headers.date ?? '')
    if (Number.isNaN(theirs) || Math.abs(theirs - now() - skew) < 60_000) return false
    skew = theirs - now()
    return true
  }

  async function patiently(call: Call): Promise<Answer> {
    const began = performance.now()
    for (let tries = 1; ; tries++) {
      let because: string
      let cause: unknown
      let asked = 0
      try {
        const answer = await attempt(call)
        const doubt = answer.status < 300 ? call.doubt?.(answer) : undefined
        if (doubt === undefined && !isPassing(answer)) return answer
        const {code, words} = said(answer)
        if (code === 'RequestTimeTooSkewed' && !adjusts(answer)) return answer
        because = doubt ?? words
        asked = retryAfterMs(answer)
      } catch (error) {
        const trouble = connectionTrouble(target, error as Error)
        if (trouble.lasting) throw trouble.lasting
        because = trouble.words
        cause = error
      }
      const pause = Math.max(backoffMs(tries, random(), pace.backoffMs, pace.backoffCapMs), asked)
      if (call.once || (tries > 1 && performance.now() + pause - began >= pace.patienceMs)) {
        throw unavailable(target, `${because}${tries > 1 ? ` (tried ${tries} times in ${Math.round((performance.now() - began) / 1000)} s)` : ''}`, cause)
      }
      await delay(pause)
    }
  }

  return {
    target,
    async call(call, expected = []) {
      if (!call.urgent) await slots.take()
      try {
        const answer = await patiently(call)
        if (answer.status < 300 || expected.includes(answer.status)) return answer
        throw refusal(target, answer)
      } catch (error) {
        throw DbaasError.from(error)
      } finally {
        if (!call.urgent) slots.give()
      }
    },
  }
}
