/** Bad days: whatever happens on the way, nothing acknowledged is lost, nothing half is seen, and everything ends in time. */
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {inspect} from 'node:util'
import {openS3, type S3Options} from '../../../../src/agent/repositories/s3/index.js'
import type {Machinery} from '../../../../src/agent/repositories/s3/client.js'
import type {ObjectStore} from '../../../../src/agent/repositories/repository.js'
import {realRuns} from '../../../support/runs.js'
import {makeBucket, s3OrSkip} from '../../../support/s3.js'
import {startFaultyProxy, type Fault, type FaultyProxy} from './faulty-proxy.js'

const pace = {slowestBytesPerSecond: 1_000_000, connectMs: 1000, idleMs: 500, attemptMs: 2000, patienceMs: 8000, backoffMs: 2, backoffCapMs: 50}
/** More than a call may take with that pace, on a machine that is busy. */
const bound = pace.patienceMs + 2 * pace.attemptMs + 2000

async function timed<T>(work: Promise<T>): Promise<{ms: number; result: PromiseSettledResult<T>}> {
  const began = performance.now()
  const [result] = (await Promise.allSettled([work])) as [PromiseSettledResult<T>]
  return {ms: performance.now() - began, result}
}

describe('a bucket behind a bad network', function () {
  this.timeout(300_000)
  const servers = s3OrSkip()
  let options: S3Options
  let dispose: (() => Promise<void>) | undefined
  let proxy: FaultyProxy
  /** As the server has it. */
  let direct: ObjectStore
  const open = (machinery: Machinery = {}) => openS3({...options, endpoint: proxy.endpoint}, {...machinery, pace: {...pace, ...machinery.pace}})
  before(async () => {
    ({options, dispose} = await makeBucket(servers().ceph))
    proxy = await startFaultyProxy(servers().ceph.endpoint)
    direct = openS3(options)
  })
  after(async () => {
    await proxy?.close()
    await dispose?.()
  })
  beforeEach(() => {
    proxy.fault = () => undefined
    proxy.forget()
  })

  /** What may pass: one of these, then all is well. */
  const passing: readonly (readonly [title: string, fault: Fault])[] = [
    ['500', {kind: 'status', status: 500, code: 'InternalError'}],
    ['500, though it was done', {kind: 'status', status: 500, code: 'InternalError', done: true}],
    ['502 of a gateway', {kind: 'status', status: 502}],
    ['503 SlowDown', {kind: 'status', status: 503, code: 'SlowDown'}],
    ['503 that asks for a second', {kind: 'status', status: 503, code: 'SlowDown', headers: {'retry-after': '1'}}],
    ['429', {kind: 'status', status: 429, code: 'TooManyRequests'}],
    ['400 RequestTimeout', {kind: 'status', status: 400, code: 'RequestTimeout'}],
    ['409 of another that writes it', {kind: 'status', status: 409, code: 'OperationAborted'}],
    ['a hang-up', {kind: 'hang-up'}],
    ['a hang-up, though it was done', {kind: 'hang-up', done: true}],
    ['a request that is cut in the middle', {kind: 'cut-request'}],
    ['an answer that is cut in the middle', {kind: 'cut-answer'}],
    ['silence', {kind: 'silence'}],
    ['silence, though it was done', {kind: 'silence', done: true}],
    ['a server that reads nothing', {kind: 'deaf'}],
    ['a length that is too long', {kind: 'length', by: 7}],
    ['a length that is too short', {kind: 'length', by: -7}],
    ['a body that is cut, and its length with it', {kind: 'length', by: -7, cut: true}],
    ['another part than was asked for', {kind: 'other-range'}],
    ['a portal that wants one to sign in', {kind: 'portal'}],
    ['a bit that is flipped on the way', {kind: 'flip-bit'}],
  ]
  for (const [title, fault] of passing) {
    it(`goes on after ${title}`, async () => {
      const store = open()
      const content = randomBytes(300_000)
      const name = `passing/${passing.findIndex(([other]) => other === title)}`
      /** Happens to the first request of the work. */
      const once = async <T>(work: () => Promise<T>): Promise<T> => {
        proxy.forget()
        proxy.fault = (_, count) => (count === 0 ? fault : undefined)
        const {ms, result} = await timed(work())
        assert.ok(ms < bound, `it took ${ms} ms`)
        assert.equal(result.status, 'fulfilled', inspect(result))
        return (result as PromiseFulfilledResult<T>).value
      }
      await once(() => store.put(name, content))
      assert.ok((await direct.get(name)).equals(content))
      assert.ok((await once(() => store.get(name))).equals(content))
      assert.ok((await once(() => store.get(name, {offset: 1000, length: 70_000}))).equals(content.subarray(1000, 71_000)))
      assert.ok((await once(() => store.get(name, {last: 70_000}))).equals(content.subarray(-70_000)))
      assert.equal((await once(() => store.stat(name)))?.size, content.length)
      assert.deepEqual((await once(() => store.list('passing/'))).objects.map((one) => one.name), [name])
      // Whether it was ours is known, even when the answer that said so got lost.
      assert.equal(await once(() => store.putIfAbsent(name, randomBytes(10))), false)
      await once(() => store.delete(name))
      assert.equal(await direct.stat(name), undefined)
      assert.equal(await once(() => store.putIfAbsent(name, content)), true)
      assert.equal(await once(() => store.putIfAbsent(name, content)), false)
      assert.ok((await direct.get(name)).equals(content))
      await once(() => store.delete(name, {erase: true}))
      assert.equal(await direct.stat(name), undefined)
    })
  }

  for (const [title, fault, code] of [
    ...passing.map(([title, fault]) => [title, fault, 'REPOSITORY_UNAVAILABLE'] as const),
    ['a trickle', {kind: 'trickle', bytes: 1, everyMs: 100}, 'REPOSITORY_UNAVAILABLE'],
    ['a page that is not found', {kind: 'status', status: 404}, 'REPOSITORY_UNAVAILABLE'],
    ['403 of a firewall', {kind: 'status', status: 403}, 'REPOSITORY_REFUSED'],
    ['403 AccessDenied', {kind: 'status', status: 403, code: 'AccessDenied'}, 'REPOSITORY_REFUSED'],
    ['an expired token', {kind: 'status', status: 400, code: 'ExpiredToken'}, 'REPOSITORY_REFUSED'],
    ['a move to another region', {kind: 'status', status: 301, code: 'PermanentRedirect', headers: {'x-amz-bucket-region': 'eu-west-7'}}, 'REPOSITORY_REFUSED'],
    ['507', {kind: 'status', status: 507}, 'DISK_FULL'],
    ['501', {kind: 'status', status: 501, code: 'NotImplemented'}, 'REPOSITORY_REFUSED'],
  ] as const satisfies readonly (readonly [string, Fault, string])[]) {
    it(`gives up in time on nothing but ${title}, and what was there is there`, async () => {
      const name = 'always/there'
      const content = randomBytes(50_000)
      await direct.put(name, content)
      const store = open({pace: {patienceMs: 400, attemptMs: 800}})
      // Without effect on the server, or it would be no wonder that it changes.
      const harmless = {...fault, done: false} as Fault
      proxy.fault = ({method}) => (method === 'GET' || method === 'HEAD' ? fault : (method === 'DELETE' && fault.kind === 'cut-request') || ['length', 'other-range', 'cut-answer', 'trickle', 'flip-bit'].includes(fault.kind) ? {kind: 'hang-up'} : harmless)
      const works: Record<string, () => Promise<unknown>> = {
        get: () => store.get(name), stat: () => store.stat(name), list: () => store.list('always/'), put: () => store.put(name, randomBytes(400_000)),
        putIfAbsent: () => store.putIfAbsent('always/new', randomBytes(400_000)), delete: () => store.delete(name),
      }
      const outcomes = await Promise.all(Object.entries(works).map(async ([what, work]) => ({what, ...(await timed(work()))})))
      for (const {what, ms, result} of outcomes) {
        assert.ok(ms < 400 + 2 * (800 + 400) + 2000, `${what} took ${ms} ms`)
        // Reading survives what concerns writing alone.
        if (result.status === 'fulfilled') {
          assert.ok(['flip-bit', 'cut-request', 'other-range', 'length', 'trickle', 'cut-answer'].includes(fault.kind) && ['get', 'stat', 'list'].includes(what), `${what} gave ${inspect(result.value)}`)
          if (what === 'get') assert.ok((result.value as Buffer).equals(content), 'it gave something else')
        } else {
          assert.ok([code, 'REPOSITORY_UNAVAILABLE'].includes(result.reason.code), `${what}: ${inspect(result.reason)}`)
          const everything = inspect(result.reason, {depth: 10, showHidden: true})
          assert.ok(!everything.includes(options.credentials?.secretAccessKey as string) && !/AWS4-HMAC|Signature=/.test(everything), 'a secret is shown')
        }
      }
      assert.ok((await direct.get(name)).equals(content))
      assert.deepEqual((await direct.list('always/')).objects.map((one) => one.name), [name])
    })
  }

  it('sets its clock by the server\'s', async () => {
    for (const off of [-3_600_000, 86_400_000]) {
      const store = open({now: () => Date.now() + off})
      await store.put('clock', Buffer.from('x'))
      assert.equal((await store.get('clock')).toString(), 'x')
    }
  })

  it('asks first before it sends much, so that a server that refuses is not sent all of it', async () => {
    let taken = 0
    const {createServer} = await import('node:http')
    const server = createServer().on('checkContinue', (request, response) => {
      request.on('data', (portion: Buffer) => (taken += portion.length))
      response.writeHead(403, {connection: 'close'})
      response.end('<Error><Code>AccessDenied</Code></Error>')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      const {port} = server.address() as {port: number}
      await assert.rejects(openS3({...options, endpoint: `http://127.0.0.1:${port}`}, {pace}).put('large', randomBytes(20_000_000)), {code: 'REPOSITORY_REFUSED'})
      assert.equal(taken, 0)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  it('has so many requests at once and no more, but for urgent ones', async () => {
    const store = open({pace: {concurrency: 4, patienceMs: 30_000, idleMs: 10_000, attemptMs: 20_000}})
    proxy.fault = ({method}) => (method === 'PUT' ? {kind: 'trickle', bytes: 1, everyMs: 1} : undefined)
    let urgentAfter = 0
    const began = performance.now()
    const puts = Promise.all(Array.from({length: 60}, (_, i) => store.put(`many/${i}`, randomBytes(50_000))))
    await store.putIfAbsent('many/urgent', Buffer.from('x'), {urgent: true}).then(() => (urgentAfter = performance.now() - began))
    await puts
    assert.ok(proxy.most <= 5, `${proxy.most} at once`)
    assert.ok(urgentAfter < (performance.now() - began) / 2, 'what is urgent waited in line')
    assert.equal((await direct.list('many/')).objects.length, 61)
  })

  it('takes no memory for what it sends, however slowly that is taken', async () => {
    const store = open({pace: {idleMs: 5000, attemptMs: 8000, patienceMs: 8000}})
    proxy.fault = ({method}) => (method === 'PUT' ? {kind: 'deaf'} : undefined)
    const content = randomBytes(32 * 1024 * 1024)
    const before = process.memoryUsage()
    const puts = Promise.allSettled(Array.from({length: 8}, (_, i) => store.put(`slow/${i}`, content)))
    let most = 0
    for (let i = 0; i < 20; i++) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      const {external, arrayBuffers} = process.memoryUsage()
      most = Math.max(most, external - before.external, arrayBuffers - before.arrayBuffers)
    }
    assert.ok(most < 16 * 1024 * 1024, `${most} bytes more for 8 uploads of 32 MiB`)
    await puts
  })

  /** Drawn anew for each request. */
  const anyFault = (): Fault => {
    const faults = [...passing.map(([, fault]) => fault).filter((fault) => !['silence', 'deaf', 'length'].includes(fault.kind) && !('headers' in fault)), {kind: 'trickle', bytes: 20_000, everyMs: 1}] as Fault[]
    return faults[Math.floor(Math.random() * faults.length)] as Fault
  }

  it('does what it says under faults at random: each object is one that was written, whole, and the last that was acknowledged', async () => {
    let failed = 0
    let succeeded = 0
    const worker = async (id: number, steps: number) => {
      // Longer than the server ever takes: what it does after it was given up for is another matter.
      const store = open({pace: {patienceMs: 100, idleMs: 5000, attemptMs: 10_000}})
      for (let n = 0; n < 2; n++) {
        const name = `random/${id}/${n}`
        /** What may be there; undefined is nothing. */
        let possible: (Buffer | undefined)[] = [undefined]
        const same = (a: Buffer | undefined, b: Buffer | undefined) => (a === undefined || b === undefined ? a === b : a.equals(b))
        for (let step = 0; step < steps; step++) {
          const content = randomBytes(Math.floor(Math.random() ** 3 * 400_000) + 1)
          const what = ['put', 'put', 'absent', 'get', 'get', 'delete'][Math.floor(Math.random() * 6)]
          const work: Record<string, () => Promise<unknown>> = {
            put: () => store.put(name, content), absent: () => store.putIfAbsent(name, content), delete: () => store.delete(name),
            get: () => store.get(name).catch((error: {code: string}) => {
              if (error.code === 'REPOSITORY_DAMAGED') return undefined
              throw error
            }),
          }
          const {ms, result} = await timed((work[what as string] as () => Promise<unknown>)())
          assert.ok(ms < 100 + 2 * 10_000, `${what} took ${ms} ms`)
          const ok = result.status === 'fulfilled'
          ok ? succeeded++ : failed++
          if (!ok) assert.equal(result.reason.code, 'REPOSITORY_UNAVAILABLE', inspect(result.reason))
          if (what === 'put') possible = ok ? [content] : [...possible, content]
          else if (what === 'delete') possible = ok ? [undefined] : [...possible, undefined]
          else if (what === 'absent') {
            const wasNothing = possible.some((one) => one === undefined)
            if (!ok) possible = wasNothing ? [...possible, content] : possible
            else if (result.value === true) {
              assert.ok(wasNothing, 'it was told that it made what was there')
              possible = [content]
            } else {
              possible = possible.filter((one) => one !== undefined)
              assert.ok(possible.length > 0, 'it was told that something is there')
            }
          } else if (ok) {
            assert.ok(possible.some((one) => same(one, result.value as Buffer | undefined)), `${name} is none of ${possible.length} that it may be`)
            possible = [result.value as Buffer | undefined]
          }
        }
        const last = await direct.get(name).catch(() => undefined)
        assert.ok(possible.some((one) => same(one, last)), `${name} is none of ${possible.length} that it may be in the end`)
      }
    }
    // Better and worse times.
    proxy.fault = () => (Math.random() < (Date.now() % 1000 < 400 ? 0.97 : 0.3) ? anyFault() : undefined)
    await Promise.all(Array.from({length: 6}, (_, id) => worker(id, realRuns(40, 400))))
    assert.ok(succeeded > 100 && failed > 5, `${succeeded} calls succeeded, ${failed} failed`)
  })

  it('tells at most one of many writers that it made the object, and that one is right', async () => {
    const counts = {won: 0, lost: 0, unknown: 0}
    proxy.fault = ({method}) => (method === 'PUT' && Math.random() < 0.5 ? anyFault() : Math.random() < 0.2 ? anyFault() : undefined)
    for (let round = 0; round < realRuns(25, 300); round++) {
      const name = `race/${round}`
      const contents = Array.from({length: 5}, () => randomBytes(20_000))
      const results = await Promise.allSettled(contents.map((content) => open({pace: {patienceMs: 300}}).putIfAbsent(name, content)))
      const there = await direct.get(name).catch(() => undefined)
      const at = contents.findIndex((content) => there?.equals(content))
      const won = results.flatMap((result, i) => (result.status === 'fulfilled' && result.value ? [i] : []))
      assert.ok(won.length <= 1, `${won.length} were told that they made it`)
      if (won.length === 1) assert.equal(at, won[0], 'another one is there')
      if (results.some(({status}) => status === 'fulfilled')) assert.notEqual(at, -1, 'something was said to be there')
      if (at !== -1) assert.notDeepEqual(results[at], {status: 'fulfilled', value: false}, 'who made it was told that another did')
      counts.won += won.length
      counts.unknown += results.filter(({status}) => status === 'rejected').length
      counts.lost += results.filter((result) => result.status === 'fulfilled' && !result.value).length
    }
    assert.ok(counts.won > 5 && counts.lost > 20, inspect(counts))
  })

  it('is prepared in spite of faults, or says in time that it cannot be', async () => {
    let prepared = 0
    for (let i = 0; i < realRuns(15, 200); i++) {
      proxy.fault = () => (Math.random() < 0.2 ? anyFault() : undefined)
      const {result} = await timed(open().prepare())
      if (result.status === 'rejected') assert.equal(result.reason.code, 'REPOSITORY_UNAVAILABLE', inspect(result.reason))
      else prepared++
    }
    assert.ok(prepared > 0)
  })
})
