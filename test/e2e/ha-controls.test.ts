/**
 * The fault suite can fail: with the protection taken away behind the agent's back, its judge finds what is lost, and who acknowledged beside whom. The agent is
 * stopped meanwhile, and goes on afterwards. And what the servers say of being asked.
 */
import assert from 'node:assert/strict'
import {readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import type {ApiInstance, ApiNode} from '../../src/core/api/schemas.js'
import {changesOf, factOf, primaryOf, processesOfNode, replicasOf, signal, startWriters, untilOtherPrimary, untilWhole} from '../support/ha.js'
import {clientOf} from '../support/probed-agent.js'
import {faultRounds} from '../support/runs.js'
import {dataRootOf, temporarySite, type Site} from '../support/site.js'
import {until} from '../support/until.js'

describe('without what protects an instance with two replicas', function () {
  this.timeout(faultRounds * 120_000)
  let site: Site
  const tell = (text: string): void => void process.stdout.write(`      ${text}\n`)

  before(async () => {
    site = temporarySite('ha-controls')
    const {operation} = await site.json('create', 'demo', '--ha', '--size', 'micro', '--no-backup')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
  })
  after(() => site?.dispose())

  const placeOf = (instance: ApiInstance, node: ApiNode): string => join(dataRootOf(site.home), 'instances', instance.id, node.id)

  /** What a person could do who has the machine. */
  function configure(instance: ApiInstance, node: ApiNode, changes: Readonly<Record<string, string>>): void {
    const file = join(placeOf(instance, node), 'config', 'replication.conf')
    const kept = readFileSync(file, 'utf8').split('\n').filter((line) => !Object.keys(changes).some((name) => line.startsWith(`${name} = `)))
    writeFileSync(file, [...kept.filter(Boolean), ...Object.entries(changes).map(([name, value]) => `${name} = '${value}'`), ''].join('\n'))
    process.kill(node.pid as number, 'SIGHUP')
  }

  async function whileAgentSleeps(work: () => Promise<void>): Promise<void> {
    const {agent} = await clientOf(site).call('agent.get', {})
    process.kill(agent.pid, 'SIGSTOP')
    try {
      await work()
    } finally {
      process.kill(agent.pid, 'SIGCONT')
    }
  }

  const rounds = async (work: (before: ApiInstance) => Promise<void>): Promise<void> => {
    for (let round = 0; round < faultRounds; round++) await work(await untilWhole(site, 'demo', 150))
  }

  it('loses every write that its primary acknowledged alone, and the judge finds each', () => rounds(async (before) => {
    const writers = await startWriters(site, 'demo')
    const old = primaryOf(before)
    let alone = 0
    await whileAgentSleeps(async () => {
      configure(before, old, {synchronous_standby_names: ''})
      for (const replica of replicasOf(before)) configure(before, replica, {primary_conninfo: ''})
      await until('no replica receives', async () => replicasOf(before).every((replica) => receiversOf(before, replica) === 0), 20)
      // what was on its way then has come
      await writers.goOn()
      alone = writers.writes.length
      await until('it acknowledges', async () => writers.writes.length > alone + 100)
      signal(processesOfNode(site, before, old), 'SIGKILL')
    })
    const {timeline} = writers.writes[alone] as {timeline: number}
    await untilOtherPrimary(site, before)
    await writers.goOn()
    await untilWhole(site, 'demo')
    const {lost, doubled, divided, acknowledged} = await writers.end()
    tell(`no synchronous replication: ${lost.length} of ${acknowledged} acknowledged writes lost`)
    const unprotected = writers.writes.slice(alone).filter((write) => write.timeline === timeline).map(({id}) => id)
    assert.ok(unprotected.length >= 100)
    assert.deepEqual(unprotected.filter((id) => !lost.includes(id)), [])
    assert.deepEqual([doubled, divided], [[], []])
  }))

  it('has two primaries where one is made beside another that nobody ended, and the judge finds what both acknowledged', () => rounds(async (before) => {
    const writers = await startWriters(site, 'demo', {direct: true})
    const old = primaryOf(before)
    const [other] = replicasOf(before)
    assert.ok(other)
    const portOf = ({endpoint}: ApiNode): string => String(endpoint?.port)
    const by = (node: ApiNode): number => writers.writes.filter(({server}) => server === portOf(node)).length
    await whileAgentSleeps(async () => {
      configure(before, other, {synchronous_standby_names: '', primary_conninfo: ''})
      // as pg_ctl promote does
      writeFileSync(join(placeOf(before, other), 'data', 'promote'), '')
      process.kill(other.pid as number, 'SIGUSR1')
      await until('the other acknowledges, too', async () => by(other) > 20, 30)
      const [mine, its] = [by(old), by(other)]
      await until('both acknowledge', async () => by(old) > mine + 20 && by(other) > its + 20, 30)
    })
    await until('one of them is ended', async () => !processesOfNode(site, before, other).includes(other.pid as number))
    const after = await untilWhole(site, 'demo', 150)
    const {lost, doubled, divided} = await writers.end()
    tell(`two primaries: ${divided.length} acknowledged beside each other, ${lost.length} lost, timeline ${after.replication?.timeline}`)
    assert.ok(divided.length > 20 && lost.length > 20)
    const servers = new Map(writers.writes.map(({id, server}) => [id, server]))
    assert.deepEqual([...new Set(lost.map((id) => servers.get(id)))], [portOf(other)])
    assert.deepEqual([...new Set(divided.map((id) => servers.get(id)))], [portOf(old)])
    assert.deepEqual(doubled, [])
  }))

  /** By the names that servers give their processes. */
  const receiversOf = (instance: ApiInstance, node: ApiNode): number => processesOfNode(site, instance, node).filter((pid) => factOf(pid, 'cmdline').includes('walreceiver')).length

  // Feature: enterprise-dbaas-platform, Property 26: Health Check Frequency Compliance
  // Iterations: every question that three servers log in 20 s, by their own clocks; 1 kill in CI, 5 in test:full
  it('is asked every second on a connection of its own, by the log of each server, and the end of a process is seen at once', async () => {
    const before = await untilWhole(site, 'demo')
    const logOf = (node: ApiNode): string => readFileSync(join(placeOf(before, node), 'log', 'server.log'), 'utf8')
    for (const node of before.nodes) configure(before, node, {log_replication_commands: 'on'})
    const questions = (node: ApiNode) => [...logOf(node).matchAll(/^(\S+ \S+) UTC \[(\d+)\] dbaas\S*@\S* .*received replication command: IDENTIFY_SYSTEM/gm)].map(([, at, pid]) => ({at: Date.parse(`${at?.replace(' ', 'T')}Z`), pid: String(pid)}))
    for (const node of before.nodes) {
      const asked = await until(`${node.name} was asked for 20 s`, async () => {
        const all = questions(node)
        return all.length > 0 && (all.at(-1)?.at as number) - (all[0]?.at as number) > 20_000 ? all : undefined
      }, 40)
      const gaps = asked.slice(1).map(({at}, i) => at - (asked[i]?.at as number))
      const sorted = [...gaps].sort((a, b) => a - b)
      tell(`${node.name}: ${asked.length} questions in 20 s, ${Math.round(sorted[sorted.length >> 1] as number)} ms between two in the middle, ${Math.max(...gaps)} ms at most`)
      assert.ok(asked.length >= 10, `${asked.length} questions in 20 s`)
      assert.ok(Math.max(...gaps) < 10_000)
      const perSession = new Map<string, number>()
      for (const {pid} of asked) perSession.set(pid, (perSession.get(pid) ?? 0) + 1)
      // its own, that stays, unless the machine was too slow for once
      assert.ok(Math.max(...perSession.values()) > asked.length / 2, JSON.stringify([...perSession]))
    }
    await rounds(async (whole) => {
      const killedAt = Date.now()
      signal(processesOfNode(site, whole, primaryOf(whole)), 'SIGKILL')
      await untilOtherPrimary(site, whole)
      await untilWhole(site, 'demo', 150)
      const [change] = await changesOf(site, 'demo')
      // by its end, not by its silence
      assert.match((change?.result as {because?: string} | null)?.because ?? '', /the process of \S+ is gone/)
      tell(`its end was seen after ${Date.parse(change?.created_at ?? '') - killedAt} ms`)
    })
  })
})
