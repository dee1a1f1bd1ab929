/** The archive of the log: one line, whoever writes it, in slices of less than a second, then in whole segments. */
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import fc from 'fast-check'
import {openDirectory} from '../../../src/agent/repositories/directory/index.js'
import {listAll} from '../../../src/agent/repositories/repository.js'
import type {Log, LogSlice} from '../../../src/agent/repositories/vault/log.js'
import {dyingStore, makePlace, type Place} from './support.js'

const slice = (segment: number, start: number, bytes: Uint8Array, final = false, more: Partial<LogSlice> = {}): LogSlice =>
  ({timeline: '00000001', segment: String(segment).padStart(4, '0'), start, bytes, final, at: segment * 1000 + start, ...more})
const first = {fresh: 'the first'}

describe('the archive of the log', function () {
  this.timeout(120_000)
  let place: Place
  let log: Log
  beforeEach(async () => {
    place = await makePlace('log')
    ;({log} = place.vault())
  })
  afterEach(() => place.dispose())
  const objects = async () => {
    const names: string[] = []
    for await (const {name} of listAll(place.store, `${place.keys.incarnation}/log/`)) names.push(name.split('/log/')[1] as string)
    return names
  }

  it('takes slices where it ends, and nowhere else', async () => {
    const bytes = randomBytes(1000)
    await assert.rejects(log.append(slice(1, 0, bytes)), {code: 'INTERNAL', message: /follows nothing and does not say why/})
    await log.append(slice(1, 0, bytes, false, first))
    await assert.rejects(log.append(slice(1, 900, bytes)), {message: /is archived up to 1000, and the slice begins at 900/})
    await assert.rejects(log.append(slice(2, 0, bytes)), {message: /0001 has not ended before/})
    await assert.rejects(log.append(slice(1, 1000, Buffer.alloc(0))), {message: /empty/})
    await log.append(slice(1, 1000, bytes, true))
    await assert.rejects(log.append(slice(1, 2000, bytes)), {message: /has ended/})
    await assert.rejects(log.append(slice(0, 0, bytes, false, first)), {message: /comes before the end/})
    await assert.rejects(log.append(slice(2, 5, bytes)), {message: /begins at 5/})
    const end = await log.append(slice(2, 0, bytes))
    assert.deepEqual(await log.end(), end)
    assert.deepEqual({segment: end.segment, offset: end.offset, final: end.final, at: end.mark?.at}, {segment: '0002', offset: 1000, final: false, at: 2000})
    assert.ok(Buffer.from((await log.read('00000001', '0001')).bytes).equals(Buffer.concat([bytes, bytes])))
    await assert.rejects(log.read('00000001', '0009'), {code: 'BACKUP_NOT_FOUND'})
  })

  it('is read whole although its slices are put together after they were listed', async () => {
    for (const part of [0, 1, 2]) await log.append(slice(1, part * 100, randomBytes(100), part === 2, part === 0 ? first : {}))
    const whole = Buffer.from((await log.read('00000001', '0001')).bytes)
    for (const read of ['read', 'end'] as const) {
      const copy = await makePlace('log-race')
      try {
        const writer = copy.vault().log
        for (const part of [0, 1, 2]) await writer.append(slice(1, part * 100, whole.subarray(part * 100, part * 100 + 100), part === 2, part === 0 ? first : {}))
        const store = openDirectory(copy.root)
        let raced = false
        const racing = {
          ...store,
          // between the list and the first slice that is fetched
          async get(...args: Parameters<typeof store.get>) {
            if (!raced && /\/log\/.*\/\d+$/.test(args[0])) {
              raced = true
              await writer.compact('00000001', '0001')
            }
            return store.get(...args)
          },
        }
        const reader = copy.vault({store: racing}).log
        if (read === 'read') assert.ok(Buffer.from((await reader.read('00000001', '0001')).bytes).equals(whole))
        else assert.equal((await reader.end())?.offset, 300)
        assert.ok(raced)
      } finally {
        await copy.dispose()
      }
    }
  })

  it('has one line, though two writers are at it: one of them is told', async () => {
    const other = place.vault({store: openDirectory(place.root)}).log
    await log.append(slice(1, 0, randomBytes(10), false, first))
    await other.end()
    const results = await Promise.allSettled([log.append(slice(1, 10, randomBytes(10))), other.append(slice(1, 10, randomBytes(20)))])
    assert.deepEqual(results.map(({status}) => status).sort(), ['fulfilled', 'rejected'])
    assert.equal((results.find((result) => result.status === 'rejected') as PromiseRejectedResult).reason.code, 'LEASE_LOST')
    // who lost looks again, and could go on
    const end = await (results[0]?.status === 'rejected' ? log : other).end()
    assert.ok(end?.offset === 20 || end?.offset === 30)
    assert.deepEqual((await log.check()).damages, [])
  })

  it('tells a writer that was away while another went on and put the segment together', async () => {
    const bytes = randomBytes(20)
    await log.append(slice(1, 0, bytes.subarray(0, 10), false, first))
    const other = place.vault({store: openDirectory(place.root)}).log
    await other.end()
    await other.append(slice(1, 10, bytes.subarray(10), true))
    await other.compact('00000001', '0001')
    // Its name is free again, and what it brings would never count.
    await assert.rejects(log.append(slice(1, 10, randomBytes(10), true)), {code: 'LEASE_LOST'})
    await place.vault().collect()
    assert.deepEqual(await objects(), ['00000001/0001/whole'])
    assert.ok(Buffer.from((await log.read('00000001', '0001')).bytes).equals(bytes))
    assert.equal((await log.end())?.final, true)
  })

  it('keeps the slices of a segment beside a whole one that cannot be read', async () => {
    await log.append(slice(1, 0, randomBytes(10), true, first))
    await place.store.put(`${place.keys.incarnation}/log/00000001/0001/whole`, randomBytes(200))
    await place.vault().collect()
    assert.deepEqual(await objects(), ['00000001/0001/000000000000', '00000001/0001/whole'])
  })

  it('takes no segment that would not fit into memory', async () => {
    await log.append(slice(1, 0, Buffer.alloc(40 * 1024 * 1024), false, first))
    await assert.rejects(log.append(slice(1, 40 * 1024 * 1024, Buffer.alloc(25 * 1024 * 1024))), {code: 'INTERNAL', message: /67108864 bytes at most/})
    await log.append(slice(1, 40 * 1024 * 1024, Buffer.alloc(24 * 1024 * 1024), true))
    await log.compact('00000001', '0001')
    assert.equal((await log.read('00000001', '0001')).bytes.length, 64 * 1024 * 1024)
  })

  it('does not mind that an answer got lost', async () => {
    const inner = openDirectory(place.root)
    let lose = true
    const {log: unlucky} = place.vault({store: {...inner, putIfAbsent: async (name, content) => {
      const result = await inner.putIfAbsent(name, content)
      if (lose && name.includes('/log/')) throw new Error('connection reset')
      return result
    }}})
    assert.equal((await unlucky.append(slice(1, 0, randomBytes(10), false, first))).offset, 10)
    lose = false
    assert.equal((await unlucky.append(slice(1, 10, randomBytes(10)))).offset, 20)
  })

  it('makes one object of a segment that has ended, with all its marks', async () => {
    const parts = Array.from({length: 5}, () => randomBytes(300))
    for (const [i, bytes] of parts.entries()) await log.append(slice(1, i * 300, bytes, i === 4, {note: `lsn ${i}`, ...(i === 0 ? first : {})}))
    await log.append(slice(2, 0, randomBytes(10)))
    await log.compact('00000001', '0001')
    await log.compact('00000001', '0001')
    assert.deepEqual(await objects(), ['00000001/0001/whole', '00000001/0002/000000000000'])
    const segment = await log.read('00000001', '0001')
    assert.ok(Buffer.from(segment.bytes).equals(Buffer.concat(parts)))
    assert.deepEqual(segment.marks.map(({end, note}) => [end, note]), [[300, 'lsn 0'], [600, 'lsn 1'], [900, 'lsn 2'], [1200, 'lsn 3'], [1500, 'lsn 4']])
    assert.deepEqual((await log.check()).damages, [])
    await assert.rejects(log.compact('00000001', '0002'), {code: 'INTERNAL', message: /has not ended/})
  })

  it('finds a gap, whose reason was said, and goes on behind it', async () => {
    await log.append(slice(1, 0, randomBytes(10), true, first))
    await log.append(slice(5, 0, randomBytes(10), true, {fresh: 'the slot was lost'}))
    await log.append(slice(6, 0, randomBytes(10), true))
    const {damages, until, segments} = await log.check()
    assert.equal(segments, 3)
    assert.equal(damages.length, 1)
    assert.match(damages[0]?.because ?? '', /begins anew: the slot was lost/)
    assert.equal(until?.segment, '0001')
    assert.deepEqual((await log.check({timeline: '00000001', segment: '0005'})).damages, [])
    assert.match((await log.check({timeline: '00000001', segment: '0003'})).damages[0]?.because ?? '', /0003 before it is missing/)
  })

  it('goes on in another timeline, and keeps history files', async () => {
    await log.append(slice(1, 0, randomBytes(10), true, first))
    await log.append(slice(1, 0, randomBytes(20), false, {timeline: '00000002'}))
    assert.deepEqual((await log.check()).damages, [])
    await log.putHistory('00000002', '1\t0/1000000\tfailover\n')
    await log.putHistory('00000002', '1\t0/1000000\tfailover\n')
    assert.equal(await log.history('00000002'), '1\t0/1000000\tfailover\n')
    assert.equal(await log.history('00000003'), undefined)
    await assert.rejects(log.putHistory('00000002', 'another'), {code: 'REPOSITORY_DAMAGED'})
  })

  it('removes what is not needed any more', async () => {
    for (let i = 1; i <= 5; i++) await log.append(slice(i, 0, randomBytes(10), true, i === 1 ? first : {}))
    await log.compact('00000001', '0002')
    assert.equal(await log.prune(({segment}) => segment > '0003'), 3)
    assert.deepEqual(await objects(), ['00000001/0004/000000000000', '00000001/0005/000000000000'])
    assert.deepEqual((await log.check()).damages, [])
  })

  it('has all of a segment that is removed, or nothing, whenever the removal dies', async () => {
    const fill = async () => {
      for (let i = 1; i <= 4; i++) for (let k = 0; k < 3; k++) await log.append(slice(i, k * 10, randomBytes(10), k === 2, i + k === 1 ? first : {}))
      await log.compact('00000001', '0003')
    }
    await fill()
    for (let point = 0, died = true; died; point++) {
      const dying = place.vault({store: dyingStore(openDirectory(place.root), point)}).log
      died = await dying.prune(({segment}) => segment > '0002').then(() => false, () => true)
      const {damages} = await place.vault().log.check()
      assert.deepEqual(damages, [], `dead at call ${point}`)
      assert.ok(point < 40)
    }
    assert.deepEqual(await objects(), ['00000001/0003/whole', '00000001/0004/000000000000', '00000001/0004/000000000010', '00000001/0004/000000000020'])
  })

  it('does not count what an interrupted removal left, collects it, and lets a segment of that name begin again', async () => {
    const stuck = place.vault({store: {...place.store, delete: async () => { throw new Error('killed') }}}).log
    for (let i = 1; i <= 2; i++) for (let k = 0; k < 3; k++) await log.append(slice(i, k * 10, randomBytes(10), k === 2, i + k === 1 ? first : {}))
    await assert.rejects(stuck.prune(({segment}) => segment !== '0001'), /killed/)
    assert.ok((await objects()).includes('00000001/0001/gone'))
    await assert.rejects(log.read('00000001', '0001'), {code: 'BACKUP_NOT_FOUND'})
    assert.deepEqual((await log.check()).damages, [])
    await place.vault().collect()
    assert.deepEqual((await objects()).filter((name) => !name.includes('/0002/')), [])
    await assert.rejects(stuck.prune(() => false), /killed/)
    const anew = place.vault().log
    assert.equal(await anew.end(), null)
    const bytes = randomBytes(30)
    await anew.append(slice(2, 0, bytes, false, first))
    await place.vault().collect()
    assert.deepEqual(await objects(), ['00000001/0002/000000000000'])
    assert.ok(Buffer.from((await anew.read('00000001', '0002')).bytes).equals(bytes))
  })

  it('holds what was appended, for any sizes of slices and segments, opened anew and compacted at any moment', async () => {
    const act = fc.oneof({weight: 6, arbitrary: fc.integer({min: 1, max: 3000})}, {weight: 1, arbitrary: fc.constant('final' as const)}, {weight: 1, arbitrary: fc.constant('compact' as const)}, {weight: 1, arbitrary: fc.constant('reopen' as const)})
    await fc.assert(fc.asyncProperty(fc.array(act, {maxLength: 25}), async (acts) => {
      const own = await makePlace('log-random')
      try {
        let opened = own.vault().log
        const segments: {bytes: Buffer[]; final: boolean}[] = [{bytes: [], final: false}]
        let begun = false
        const append = async (bytes: Buffer, final: boolean) => {
          if (segments.at(-1)?.final) segments.push({bytes: [], final: false})
          const last = segments.at(-1) as {bytes: Buffer[]; final: boolean}
          await opened.append(slice(segments.length, last.bytes.reduce((sum, {length}) => sum + length, 0), bytes, final, begun ? {} : first))
          begun = true
          last.bytes.push(bytes)
          last.final = final
        }
        for (const what of acts) {
          if (typeof what === 'number') await append(randomBytes(what), false)
          else if (what === 'final') await append(Buffer.alloc(begun ? 0 : 5), true)
          else if (what === 'reopen') opened = own.vault({store: openDirectory(own.root)}).log
          else for (const [i, {final}] of segments.entries()) if (final) await opened.compact('00000001', String(i + 1).padStart(4, '0'))
        }
        const check = await opened.check()
        assert.deepEqual(check.damages, [])
        for (const [i, {bytes, final}] of segments.entries()) {
          if (bytes.length === 0) continue
          const found = await opened.read('00000001', String(i + 1).padStart(4, '0'))
          assert.ok(Buffer.from(found.bytes).equals(Buffer.concat(bytes)))
          assert.equal(found.final, final)
        }
      } finally {
        own.dispose()
      }
    }), {numRuns: 100})
  })
})
