import assert from 'node:assert/strict'
import {createLeases, leaseGraceMs} from '../../../src/agent/services/provisioning/leases.js'
import type {InstanceRecord} from '../../../src/core/instance/instance.js'

const instance = (id: string, change: Partial<InstanceRecord> = {}): InstanceRecord => ({id, leased: true, createdAt: 0, ...change}) as InstanceRecord

describe('leases', () => {
  let now = 1_000_000
  let there: InstanceRecord[] = []
  /** The store is asked for one thing alone. */
  const leasesNow = () => createLeases({
    clock: {now: () => now},
    store: {read: async (_: unknown, work: (tx: unknown) => Promise<unknown>) => work({instances: {find: async (id: string) => there.find((i) => i.id === id)}})} as never,
  })
  const ids = (leases: ReturnType<typeof createLeases>): string[] => leases.abandoned(there).map((each) => each.instance.id)
  beforeEach(() => {
    now = 1_000_000
    there = [instance('a'), instance('b', {leased: false})]
  })

  it('ends what nobody held for the grace, counted from when a holder could first come', async () => {
    const leases = leasesNow()
    assert.deepEqual(ids(leases), [])
    now += leaseGraceMs
    assert.deepEqual(ids(leases), [])
    now += 1
    assert.deepEqual(ids(leases), ['a'])
    assert.deepEqual(leases.abandoned(there).map(({forMs}) => forMs), [leaseGraceMs + 1])
  })

  it('gives one that is being made the same time', () => {
    const leases = leasesNow()
    leases.abandoned(there)
    now += 60_000
    there = [instance('a', {createdAt: now})]
    assert.deepEqual(ids(leases), [])
    now += leaseGraceMs + 1
    assert.deepEqual(ids(leases), ['a'])
  })

  it('keeps it as long as one of its holders is there, and the grace longer', async () => {
    const leases = leasesNow()
    const controllers = [new AbortController(), new AbortController()]
    const streams = controllers.map(({signal}) => leases.hold('a', signal)[Symbol.asyncIterator]())
    for (const stream of streams) assert.deepEqual(await stream.next(), {done: false, value: 'held'})
    const ended = streams.map((stream) => stream.next())
    now += 3_600_000
    assert.deepEqual(ids(leases), [])
    controllers[0]?.abort()
    await ended[0]
    now += 3_600_000
    assert.deepEqual(ids(leases), [])
    controllers[1]?.abort()
    await ended[1]
    assert.deepEqual(ids(leases), [])
    now += leaseGraceMs + 1
    assert.deepEqual(ids(leases), ['a'])
  })

  it('takes a reader that stops reading for one that lets go', async () => {
    const leases = leasesNow()
    leases.abandoned(there)
    now += 60_000
    for await (const _ of leases.hold('a', new AbortController().signal)) break
    assert.deepEqual(ids(leases), [])
    now += leaseGraceMs + 1
    assert.deepEqual(ids(leases), ['a'])
  })

  it('ends the stream of an instance that is gone', async () => {
    const leases = leasesNow()
    there = []
    let lines = 0
    for await (const _ of leases.hold('a', new AbortController().signal)) lines++
    assert.equal(lines, 0)
  })
})
