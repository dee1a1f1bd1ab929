/** What is found out of a primary beside the looks, with a server that does as it is told and a clock that is turned. */
import assert from 'node:assert/strict'
import {setImmediate as settled} from 'node:timers/promises'
import {budgets} from '../../../src/core/ha/diagnose.js'
import {DbaasError} from '../../../src/core/errors.js'
import type {Member} from '../../../src/agent/services/ha/members.js'
import {createProofs} from '../../../src/agent/services/ha/prove.js'
import type {NodeReplication} from '../../../src/engines/replication.js'

const silence = new DbaasError('DATABASE_UNAVAILABLE', 'did not answer')
const refusal = new DbaasError('DATABASE_UNAVAILABLE', 'has no free connection left', {details: {sqlstate: '53300'}})
type Does = DbaasError | 'works' | 'hangs'

function arrange() {
  let now = 1000
  let flushed = 100n
  let startedAt = 1
  let runs = true
  const server: {connect: Does; write: Does; room: Does | 'full'; other: Does | 'full'} = {connect: 'works', write: 'works', room: 'works', other: 'works'}
  const asked = {connects: 0, writes: 0, closed: 0, rooms: 0, others: 0}
  /** As long as the deadline it has, when it does not answer. */
  const answer = async (does: Does, timeoutMs: number): Promise<void> => {
    if (does === 'works') return
    if (does === 'hangs') return new Promise(() => undefined)
    if (does === silence) now += timeoutMs
    throw does
  }
  const replication = {
    async probe(_host: unknown, _admin: unknown, {timeoutMs}: {timeoutMs: number}) {
      asked.connects++
      await answer(server.connect, timeoutMs)
      return {close: async () => void asked.closed++}
    },
    async probeWrite(_host: unknown, _admin: unknown, {timeoutMs}: {timeoutMs: number}) {
      asked.writes++
      await answer(server.write, timeoutMs)
      flushed += 56n
    },
  }
  const roomOf = (which: 'room' | 'other') => ({
    ...replication,
    async hasRoom(_host: unknown, _admin: unknown, {timeoutMs}: {timeoutMs: number}) {
      asked[which === 'room' ? 'rooms' : 'others']++
      const does = server[which]
      if (does === 'full') return false
      await answer(does, timeoutMs)
      return true
    },
  })
  const other = {id: 'b', busy: false, subject: {engine: {title: 'x', replication: roomOf('other')}, host: {}}} as unknown as Member
  const member = {id: 'a', busy: false, subject: {engine: {title: 'x', replication: roomOf('room')}, host: {}}} as unknown as Member
  const proofs = createProofs({admin: async () => ({}) as never}, () => now)
  const look = async () => {
    const proof = proofs.look(member, {role: 'primary', startedAt, flushed} as NodeReplication, runs, [other])
    await settled()
    return proof
  }
  return {
    server, asked, look,
    /** Looks once a second. */
    async lookFor(seconds: number, between = (): void => undefined) {
      for (const end = now + seconds * 1000; now < end; now += 1000) {
        between()
        await look()
      }
      return look()
    },
    moveLog: () => void (flushed += 8n),
    restart: () => void startedAt++,
    end: () => void (runs = false),
  }
}

describe('the proofs of a primary', () => {
  it('try a new session regularly, and close it', async () => {
    const {asked, lookFor} = arrange()
    const proof = await lookFor(20)
    assert.ok(asked.connects >= 9 && asked.connects <= 11, `${asked.connects} sessions`)
    assert.equal(asked.closed, asked.connects)
    assert.deepEqual(proof, {failedConnects: 0, unservedMs: 0, failedWrites: 0, stalledMs: 0, fullMs: 0, roomy: []})
  })

  it('count sessions that are not to be had, and take them back at the first that is', async () => {
    const {server, asked, lookFor} = arrange()
    server.connect = silence
    const shut = await lookFor(12)
    assert.ok(shut.failedConnects >= budgets.unreachableProbes && shut.unservedMs >= budgets.unreachableMs, JSON.stringify(shut))
    assert.deepEqual([shut.failedWrites, asked.writes], [0, 0], 'no write where no session is to be had')
    server.connect = 'works'
    assert.equal((await lookFor(4)).failedConnects, 0)
  })

  it('take a refusal for an answer', async () => {
    const {server, lookFor} = arrange()
    server.connect = refusal
    assert.equal((await lookFor(20)).failedConnects, 0)
  })

  it('write only to a log that has not moved for a while', async () => {
    const busy = arrange()
    await busy.lookFor(30, busy.moveLog)
    assert.equal(busy.asked.writes, 0)
    const idle = arrange()
    await idle.lookFor(30)
    assert.ok(idle.asked.writes >= 3 && idle.asked.writes <= 6, `${idle.asked.writes} writes`)
  })

  it('count writes that hang, few of them, and forget them when the log moves', async () => {
    const {server, asked, lookFor, moveLog} = arrange()
    server.write = silence
    const stalled = await lookFor(22)
    assert.ok(stalled.failedWrites >= budgets.stalledProbes && stalled.stalledMs >= budgets.stalledMs, JSON.stringify(stalled))
    assert.equal(stalled.failedConnects, 0)
    assert.ok(asked.writes <= 4, `${asked.writes} writes`)
    server.write = 'works'
    moveLog()
    assert.equal((await lookFor(1)).failedWrites, 0)
  })

  it('ask seldom for room, of the others only when there is none, and say since when, however the log moves', async () => {
    const {server, asked, lookFor, moveLog} = arrange()
    await lookFor(20, moveLog)
    assert.ok(asked.rooms >= 3 && asked.rooms <= 5, `${asked.rooms} times`)
    assert.equal(asked.others, 0)
    server.room = 'full'
    const full = await lookFor(14, moveLog)
    assert.ok(full.fullMs >= budgets.stalledMs, `${full.fullMs} ms`)
    assert.deepEqual(full.roomy, ['b'])
    server.other = 'full'
    assert.deepEqual((await lookFor(4, moveLog)).roomy, [])
    server.room = silence
    assert.ok((await lookFor(6, moveLog)).fullMs > full.fullMs, 'no answer says nothing of the disk')
    server.room = 'works'
    assert.deepEqual([(await lookFor(4, moveLog)).fullMs], [0])
  })

  it('forget what was of a server that has ended, or started anew, also of tries that are on their way', async () => {
    for (const change of ['restart', 'end'] as const) {
      const world = arrange()
      world.server.connect = silence
      assert.ok((await world.lookFor(10)).failedConnects > 0)
      world.server.connect = 'works'
      world[change]()
      assert.equal((await world.look()).failedConnects, 0)
      assert.equal((await world.lookFor(10)).failedConnects, 0)
    }
    const hanging = arrange()
    hanging.server.connect = 'hangs'
    await hanging.lookFor(10)
    assert.equal(hanging.asked.connects, 1, 'one at a time')
    hanging.restart()
    await hanging.look()
    assert.equal(hanging.asked.connects, 2)
  })
})
