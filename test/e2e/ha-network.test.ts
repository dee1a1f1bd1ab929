/** A site in a network of its own, whose loopback is cut: between the primary and its replicas, the agent, all of them. Clients beside a primary that is cut off try to write to it all the time. */
import assert from 'node:assert/strict'
import {statSync} from 'node:fs'
import {setTimeout as pause} from 'node:timers/promises'
import type {ApiInstance, ApiNode} from '../../src/core/api/schemas.js'
import {changesOf, instanceOf, primaryOf, processesOfNode, replicasOf, underFault, untilOtherPrimary, untilWhole, type Fault, type Writers} from '../support/ha.js'
import {connectionsOf, makeNetwork, ofConnection, ofUser, type Network} from '../support/network.js'
import {clientOf} from '../support/probed-agent.js'
import {faultRounds} from '../support/runs.js'
import {temporarySite, type Site} from '../support/site.js'
import {until} from '../support/until.js'

/** The agent and the endpoint. */
const root = 0
const portOf = ({endpoint}: ApiNode): number => (endpoint as {port: number}).port

describe('an instance with two replicas in a network that is cut', function () {
  this.timeout(faultRounds * 200_000)
  let network: Network
  let site: Site

  before(async function () {
    const made = await makeNetwork()
    if (typeof made === 'string') {
      if (process.env.CI === 'true') throw new Error(`CI must have it: ${made}`)
      process.stdout.write(`      SKIPPED: ${made}\n`)
      return this.skip()
    }
    network = made
    site = temporarySite('network', {network})
    const {operation} = await site.json('create', 'demo', '--ha', '--size', 'micro', '--no-backup')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
  })
  after(async () => {
    network?.heal()
    await site?.dispose()
    await network?.dispose()
  })

  /** The connections by which replicas receive from the primary. */
  const streamsOf = (instance: ApiInstance, replicas: readonly ApiNode[]) =>
    replicas.flatMap((replica) => connectionsOf(processesOfNode(site, instance, replica), portOf(primaryOf(instance))))
  const serversUser = (instance: ApiInstance): number => statSync(`/proc/${primaryOf(instance).pid}`).uid

  /** No replica hears from the primary, and it hears from none. New connections first: none shall slip through meanwhile. */
  function cutReplicas(instance: ApiInstance, replicas = replicasOf(instance)): void {
    network.cut([ofUser(serversUser(instance), portOf(primaryOf(instance)), 'new')])
    const streams = streamsOf(instance, replicas)
    assert.equal(streams.length, replicas.length)
    network.cut(streams.flatMap(ofConnection))
  }

  async function cutAgent(instance: ApiInstance): Promise<void> {
    const port = portOf(primaryOf(instance))
    network.cut([ofUser(root, port, 'new')])
    const {agent} = await clientOf(site).call('agent.get', {})
    const sessions = connectionsOf([agent.pid], port)
    assert.ok(sessions.length > 0)
    network.cut(sessions.flatMap(ofConnection))
  }

  const cutting = (work: (fault: Fault & {changes: number}) => Promise<void>) => underFault(site, async (fault) => {
    const changes = (await changesOf(site, 'demo')).length
    try {
      await work({...fault, changes})
    } finally {
      network.heal()
    }
  })

  const becauseOf = async (): Promise<string> => (await instanceOf(site, 'demo')).replication?.last_decision?.because ?? ''
  const isSame = async (before: ApiInstance, changes: number): Promise<void> => {
    assert.equal(primaryOf(await untilWhole(site, 'demo')).id, primaryOf(before).id)
    assert.equal((await changesOf(site, 'demo')).length, changes)
  }
  const writesAt = ({writes}: Writers, node: ApiNode): number => writes.filter(({server}) => server === String(portOf(node))).length

  it('acknowledges nothing while its primary is cut off from the replicas alone, and goes on by itself', () => cutting(async ({before, writers, changes, round, tell}) => {
    if (round % 2 === 0) cutReplicas(before)
    // one way only: what the primary sends arrives, and no replica can say so
    else network.cut([ofUser(serversUser(before), portOf(primaryOf(before)))])
    await until('writes wait', async () => (await instanceOf(site, 'demo')).replication?.status === 'blocked', 30)
    const written = writers.acknowledged()
    // longer than a primary that is silent would be given
    await pause(9000)
    assert.equal(writers.acknowledged(), written, 'a write was acknowledged that no replica has')
    network.heal()
    await writers.goOn()
    tell('cut off from its replicas')
    await isSame(before, changes)
  }))

  it('has another primary when its own is cut off from everybody but clients beside it, to whom it acknowledges nothing', () => cutting(async ({before, writers, tell}) => {
    const old = primaryOf(before)
    await until('a client beside it writes', async () => writers.writes.some(({id}) => id.includes(`-at${portOf(old)}-`)))
    network.cut([ofUser(root, portOf(old))])
    cutReplicas(before)
    const written = writesAt(writers, old)
    await untilOtherPrimary(site, before)
    await writers.goOn()
    tell(`cut off from everybody (${writesAt(writers, old) - written} writes were on their way)`)
    assert.match((await changesOf(site, 'demo'))[0]?.kind ?? '', /failover/)
    const late = writesAt(writers, old)
    network.heal()
    await untilWhole(site, 'demo', 120)
    assert.equal(writesAt(writers, old), late, 'the old primary acknowledged something when it was none any more')
  }))

  it('writes on while its primary is cut off from the agent alone, which waits for 8 s', () => cutting(async ({before, writers, changes, tell}) => {
    await cutAgent(before)
    await until('the agent hears nothing from it, and hears that others do', async () => /has not answered .* but .* hear from it/.test(await becauseOf()), 30)
    await writers.goOn()
    network.heal()
    tell('cut off from the agent for a while')
    await isSame(before, changes)
  }))

  it('has another primary when its own stays cut off from the agent, so that no new client gets in', () => cutting(async ({before, writers, tell}) => {
    await cutAgent(before)
    await untilOtherPrimary(site, before)
    await writers.goOn()
    tell('cut off from the agent')
    assert.match((await instanceOf(site, 'demo')).replication?.last_change?.because ?? '', /hear from it; no client gets in/)
  }))

  it('writes on while a replica is cut off from everybody, and takes it back', () => cutting(async ({before, writers, changes, tell}) => {
    const [replica] = replicasOf(before)
    assert.ok(replica)
    network.cut([ofUser(root, portOf(replica))])
    cutReplicas(before, [replica])
    await until('it confirms no more', async () => !((await instanceOf(site, 'demo')).replication?.voters.includes(replica.name) ?? true), 30)
    await writers.goOn()
    tell('a replica cut off')
    network.heal()
    await isSame(before, changes)
  }))
})
