/** The agent is killed in every phase of a change of primary, before and after it is stored, and inside of a rejoin: the next one brings it to an end, and nothing is lost. */
import assert from 'node:assert/strict'
import {once} from 'node:events'
import type {ApiInstance} from '../../src/core/api/schemas.js'
import {changesOf, primaryOf, processesOfNode, replicasOf, signal, underFault, untilWhole, type Writers} from '../support/ha.js'
import {call} from '../support/kills.js'
import {startProbed, stopAgent} from '../support/probed-agent.js'
import {sampled} from '../support/runs.js'
import {temporarySite, type Site} from '../support/site.js'

interface Point {
  readonly kind: string
  readonly step: string
  readonly when: 'after' | 'stored'
}

const pointsOf = (kind: string, steps: readonly string[], whens: readonly Point['when'][]): Point[] => steps.flatMap((step) => whens.map((when) => ({kind, step, when})))

/** `begin`: it was decided, and then stored. */
const failovers = pointsOf('instance.failover', ['begin', 'fence', 'arm', 'promote', 'prove', 'open'], ['after', 'stored'])
const switchovers = pointsOf('instance.switchover', ['begin', 'stop', 'fence', 'arm', 'promote', 'prove', 'open'], ['after', 'stored'])
const rejoins = pointsOf('node.rejoin', ['kill', 'rewind', 'copy', 'stamp'], ['after'])

describe('an agent that is killed while the primary changes', function () {
  this.timeout(240_000)
  let site: Site
  before(async () => {
    site = temporarySite('ha-phases')
    const {operation} = await site.json('create', 'demo', '--ha', '--size', 'micro', '--no-backup')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
  })
  after(() => site?.dispose())

  /** More log than a connection holds on its way, so that the primary has some that no replica will ever have, and must go back. */
  async function runAhead(instance: ApiInstance, writers: Writers): Promise<void> {
    for (const replica of replicasOf(instance)) signal(processesOfNode(site, instance, replica), 'SIGSTOP')
    await writers.query('set synchronous_commit = local')
    await writers.query("create table if not exists bulk as select repeat('x', 1000) from generate_series(1, 40000)")
    await writers.query("insert into bulk select repeat('x', 1000) from generate_series(1, 40000)")
  }

  const points = [...sampled(failovers, 2, 3), ...sampled(switchovers, 1, 5), ...sampled(rejoins, 1, 7)]
  for (const {kind, step, when} of points) {
    it(`is followed by one that brings it to its end, and nothing is lost: ${kind}, ${step}, ${when}`, () => underFault(site, async ({writers, tell}) => {
      await stopAgent(site)
      const agent = await startProbed(site, {kill: {kind, step, direction: 'forward', when}})
      const death = once(agent, 'exit')
      const before = await untilWhole(site, 'demo')
      writers.gapMs()
      // who asked hears no more of it
      if (kind === 'instance.switchover') void call(site, 'instances.switchover', {params: {instance: 'demo'}, body: {}}).catch(() => undefined)
      else {
        if (kind === 'node.rejoin') await runAhead(before, writers)
        signal(processesOfNode(site, before, primaryOf(before)), 'SIGKILL')
        for (const replica of replicasOf(before)) signal(processesOfNode(site, before, replica), 'SIGCONT')
      }
      assert.equal((await death)[1], 'SIGKILL')
      // the endpoint process brings it back, too
      assert.equal((await site.run('agent', 'start')).code, 0)
      await writers.goOn()
      tell(`${kind}, ${step}, ${when}`)
      await untilWhole(site, 'demo')
      for (const {ended_at, status, error} of await changesOf(site, 'demo')) assert.ok(ended_at !== null, `${status} ${error?.message}`)
    }, 1))
  }
})
