/** A bucket as a repository, on real servers that check signatures: Ceph's gateway, and Swift for what cannot be one. */
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {inspect} from 'node:util'
import {openS3, type S3Options} from '../../../../src/agent/repositories/s3/index.js'
import {createClient} from '../../../../src/agent/repositories/s3/client.js'
import {createObjects} from '../../../../src/agent/repositories/s3/objects.js'
import {resolveTarget} from '../../../../src/agent/repositories/s3/options.js'
import {realRuns} from '../../../support/runs.js'
import {lookupLoopback, makeBucket, removeBucket, reviveSwift, s3OrSkip, versionsIn} from '../../../support/s3.js'
import {storeConformance} from '../store-conformance.js'

const text = (words: string): Buffer => Buffer.from(words)
const hurried = {pace: {patienceMs: 1000, backoffMs: 10}}
/** More than a gateway keeps in the head of an object, and than is given to a socket at once. */
const largeBytes = 9_000_001

describe('a bucket on a real server', function () {
  this.timeout(120_000)
  const servers = s3OrSkip()

  for (const [title, of] of [
    ['named in the path', () => ({prefix: 'some/where'})],
    ['over TLS, trusting one authority', () => ({endpoint: servers().ceph.tls, ca: servers().ceph.ca})],
    ['named in the host', () => ({style: 'host', endpoint: `http://${servers().ceph.domain}:${new URL(servers().ceph.endpoint).port}`})],
  ] as const satisfies readonly (readonly [string, () => Partial<S3Options>])[]) {
    storeConformance(`a bucket of Ceph, ${title},`, async () => {
      const {options, dispose} = await makeBucket(servers().ceph)
      return {open: () => openS3({...options, ...of()}, {lookup: lookupLoopback}), dispose, largeBytes}
    }, realRuns(10))
  }

  describe('as a place', () => {
    let options: S3Options
    let dispose: () => Promise<void>
    before(async () => {
      ({options, dispose} = await makeBucket(servers().ceph))
    })
    after(() => dispose?.())

    it('is made when it is not there, and not taken for empty when it has gone', async () => {
      const own = {...options, bucket: `${options.bucket}-new`}
      const store = openS3(own)
      for (const work of [() => store.put('a', text('x')), () => store.putIfAbsent('a', text('x')), () => store.get('a'), () => store.stat('a'), () => store.list(''), () => store.delete('a')]) {
        await assert.rejects(work, {code: 'REPOSITORY_UNAVAILABLE', message: /there is no bucket/})
      }
      await store.prepare()
      await store.put('a', text('x'))
      assert.equal((await store.get('a')).toString(), 'x')
      await removeBucket(createClient(resolveTarget(own)))
      await assert.rejects(store.get('a'), {code: 'REPOSITORY_UNAVAILABLE'})
      await assert.rejects(store.stat('a'), {code: 'REPOSITORY_UNAVAILABLE'})
    })

    it('keeps apart what is below one prefix and another, and what others keep beside them', async () => {
      const [one, two, ten] = ['site-1', 'site-2', 'site-10'].map((prefix) => openS3({...options, prefix})) as [ReturnType<typeof openS3>, ReturnType<typeof openS3>, ReturnType<typeof openS3>]
      await one.put('a', text('1'))
      await two.put('a', text('2'))
      await ten.put('a', text('10'))
      const objects = createObjects(createClient(resolveTarget(options)))
      const foreign = ['site-1/with space', 'site-1/ümlaut & <xml> "quoted"+plus', 'site-1/.hidden', 'site-1/a//b', 'site-1', 'site-1/%41']
      for (const key of foreign) await objects.put(key, text('x'))
      assert.deepEqual((await one.list('')).objects.map(({name}) => name), ['a'])
      assert.equal((await one.get('a')).toString(), '1')
      await two.delete('a')
      assert.equal((await ten.get('a')).toString(), '10')
      // More of them than fit on a page hide nothing behind them.
      await Promise.all(Array.from({length: 30}, (_, i) => objects.put(`site-1/b/.foreign-${i}`, text('x'))))
      await one.put('b/z', text('last'))
      assert.deepEqual(await one.list('b/', {limit: 5}).then(({objects: found}) => found.map(({name}) => name)), ['b/z'])
    })

    it('is erased with every version that the bucket keeps', async () => {
      const versioned = await makeBucket(servers().ceph, true)
      try {
        const objects = createObjects(createClient(resolveTarget(versioned.options)))
        for (const key of ['keys/1', 'keys/1', 'keys/1', 'keys/10', 'keys/1-b']) await objects.put(key, text(`${Math.random()}`))
        const store = openS3(versioned.options)
        await store.delete('keys/1')
        assert.equal((await versionsIn(versioned.options)).filter(({key}) => key === 'keys/1').length, 4, 'a plain delete hides it')
        await store.delete('keys/1', {erase: true})
        assert.deepEqual((await versionsIn(versioned.options)).map(({key}) => key).sort(), ['keys/1-b', 'keys/10'])
        await store.delete('keys/1', {erase: true})
      } finally {
        await versioned.dispose()
      }
    })

    it('removes what a proof of a process that died has left, when it is old', async () => {
      const store = openS3(options)
      const objects = createObjects(createClient(resolveTarget(options)))
      await objects.put(`.probes/${Date.now() - 100_000}-x`, text('x'))
      await objects.put(`.probes/${Date.now()}-y`, text('y'))
      assert.equal(await store.tidy(50_000), 1)
      assert.equal(await store.tidy(0), 1)
      assert.deepEqual((await versionsIn(options)).filter(({key}) => key.startsWith('.')), [])
    })

    it('leaves no trace of a proof', async () => {
      const own = await makeBucket(servers().ceph)
      try {
        await openS3(own.options).prepare()
        assert.deepEqual(await versionsIn(own.options), [])
      } finally {
        await own.dispose()
      }
    })

    it('that is full says so, and has nothing half of what did not fit', async () => {
      const small = {bucket: `${options.bucket}-small`, endpoint: servers().ceph.endpoint, credentials: servers().ceph.users.small}
      const store = openS3(small, hurried)
      try {
        await store.prepare()
        await store.put('kept', text('kept'))
        await assert.rejects(store.put('large', randomBytes(3_000_000)), {code: 'DISK_FULL'})
        await assert.rejects(store.putIfAbsent('large', randomBytes(3_000_000)), {code: 'DISK_FULL'})
        assert.deepEqual((await store.list('')).objects.map(({name}) => name), ['kept'])
      } finally {
        await removeBucket(createClient(resolveTarget(small)))
      }
    })
  })

  describe('that does not do what is needed', () => {
    let options: S3Options
    let dispose: () => Promise<void>
    before(async () => {
      ({options, dispose} = await makeBucket(servers().ceph))
    })
    after(() => dispose?.())

    /** Of every way in, what it is refused with; and that no secret is in it. */
    async function refusal(of: S3Options): Promise<{code: string; message: string; suggestions: readonly string[]}> {
      const store = openS3(of, hurried)
      const began = performance.now()
      for (const work of [store.prepare, () => store.put('a', text('x')), () => store.get('a'), () => store.stat('a'), () => store.list(''), () => store.delete('a')]) {
        await assert.rejects(work, (error: Error) => {
          assert.ok(['REPOSITORY_REFUSED', 'REPOSITORY_UNAVAILABLE'].includes((error as unknown as {code: string}).code), inspect(error))
          const everything = inspect(error, {depth: 10, showHidden: true}) + JSON.stringify(error)
          assert.ok(!everything.includes(of.credentials?.secretAccessKey ?? 'there is none'), 'the secret is shown')
          assert.doesNotMatch(everything, /AWS4-HMAC|Signature=/)
          return true
        })
      }
      assert.ok(performance.now() - began < 6 * 5000)
      return store.prepare().then(() => assert.fail('it was prepared'), (error) => error)
    }
    const wrong = (change: Partial<NonNullable<S3Options['credentials']>>) => ({...options, credentials: {...servers().ceph.users.owner, ...change}})

    it('because the secret is wrong', async () => {
      const {code, message} = await refusal(wrong({secretAccessKey: randomBytes(20).toString('hex')}))
      assert.equal(code, 'REPOSITORY_REFUSED')
      assert.match(message, /the secret is not that of the access key/)
    })
    it('because the access key is unknown', async () => {
      const {code, message} = await refusal(wrong({accessKeyId: 'nobody'}))
      assert.equal(code, 'REPOSITORY_REFUSED')
      assert.match(message, /does not know the access key/)
    })
    it('because the user may not', async () => {
      const {code, message, suggestions} = await refusal({...options, credentials: servers().ceph.users.guest})
      assert.equal(code, 'REPOSITORY_REFUSED')
      assert.match(message, /denies access/)
      assert.match(suggestions.join(), /s3:PutObject/)
    })
    it('because the bucket is somebody else\'s', async () => {
      const error = await openS3({...options, credentials: servers().ceph.users.guest}).prepare().catch((e: Error) => e)
      assert.equal((error as {code?: string}).code, 'REPOSITORY_REFUSED')
    })
    it('because its certificate is not trusted', async () => {
      const {code, message, suggestions} = await refusal({...options, endpoint: servers().ceph.tls})
      assert.equal(code, 'REPOSITORY_REFUSED')
      assert.match(message, /certificate is not trusted \(DEPTH_ZERO_SELF_SIGNED_CERT\)/)
      assert.match(suggestions.join(), /`ca`/)
    })
    it('because its certificate is for another name', async () => {
      const {code, message} = await refusal({...options, endpoint: servers().ceph.tls.replace('127.0.0.1', '127.0.0.2'), ca: servers().ceph.ca})
      // Ceph listens on one address alone: that nobody answers on the other is as good.
      assert.ok(['REPOSITORY_REFUSED', 'REPOSITORY_UNAVAILABLE'].includes(code))
      assert.match(message, /ALTNAME|ECONNREFUSED/)
    })
    it('because it speaks no TLS there', async () => {
      const {code, message} = await refusal({...options, endpoint: servers().ceph.endpoint.replace('http:', 'https:')})
      assert.equal(code, 'REPOSITORY_REFUSED')
      assert.match(message, /does not speak TLS 1\.3/)
    })
    it('because nobody answers', async () => {
      const {code, message} = await refusal({...options, endpoint: 'http://127.0.0.1:1'})
      assert.equal(code, 'REPOSITORY_UNAVAILABLE')
      assert.match(message, /ECONNREFUSED.*tried \d+ times/)
    })
    it('because there is no such host', async () => {
      const {code, message} = await refusal({...options, endpoint: 'https://no-such-host.invalid'})
      assert.equal(code, 'REPOSITORY_UNAVAILABLE')
      assert.match(message, /there is no host|EAI_AGAIN/)
    })
    it('because it is in another region (Swift)', async () => {
      const {code, message, suggestions} = await refusal({bucket: 'any', endpoint: servers().swift.endpoint, credentials: servers().swift.users.owner, region: 'eu-west-9'})
      assert.equal(code, 'REPOSITORY_REFUSED')
      assert.match(message, /is in us-east-1/)
      assert.deepEqual(suggestions, ['set the region us-east-1'])
    })
  })

  describe('without conditional writes', () => {
    before(reviveSwift)
    const conditional = {code: 'REPOSITORY_REFUSED', message: /If-None-Match/}

    it('is refused: Swift, which says that it has none', async () => {
      const of = {bucket: 'no-conditions', endpoint: servers().swift.endpoint, credentials: servers().swift.users.owner}
      const store = openS3(of)
      await assert.rejects(store.prepare(), {...conditional, message: /has no conditional writes \(If-None-Match: \*\).*It says: NotImplemented/})
      await assert.rejects(store.prepare(), conditional, 'and again')
      // All else works there.
      await store.put('a/b', randomBytes(300_000))
      assert.equal((await store.get('a/b', {last: 10})).length, 10)
      assert.equal((await store.stat('a/b'))?.size, 300_000)
      assert.equal(await store.stat('a/c'), undefined)
      await assert.rejects(store.get('a/c'), {code: 'REPOSITORY_DAMAGED'})
      assert.deepEqual((await store.list('a/')).objects.map(({name}) => name), ['a/b'])
      await store.delete('a/b', {erase: true})
      await store.delete('a/b')
      assert.deepEqual(await versionsIn(of), [])
    })

    it('is refused: a bucket of Ceph that keeps versions, where every writer is told that it did', async () => {
      const versioned = await makeBucket(servers().ceph, true)
      try {
        const store = openS3(versioned.options)
        // It is as it says; should a newer one keep its word there, this is to be seen.
        assert.deepEqual([await store.putIfAbsent('a', text('1')), await store.putIfAbsent('a', text('2'))], [true, true])
        await assert.rejects(store.prepare(), {...conditional, message: /does not heed the condition .* in this bucket/})
        assert.deepEqual((await versionsIn(versioned.options)).map(({key}) => key), ['a', 'a'], 'nothing of the proof is left')
      } finally {
        await versioned.dispose()
      }
    })
  })
})
