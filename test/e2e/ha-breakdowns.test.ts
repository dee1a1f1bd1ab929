/** Breakdowns that are rarer than a kill: another server dies while the first comes back, the endpoint dies, a main process hangs. */
import assert from 'node:assert/strict'
import {setTimeout as pause} from 'node:timers/promises'
import {factOf, primaryOf, processesOfNode, signal, underFault, untilOtherPrimary, untilWhole} from '../support/ha.js'
import {faultRounds} from '../support/runs.js'
import {processesOf, temporarySite, type Site} from '../support/site.js'
import {until} from '../support/until.js'

/** It is in the system call fdatasync, of x86-64 or of arm64. */
const isFlushing = (pid: number): boolean => /^(?:75|83) /.test(factOf(pid, 'syscall'))

describe('an instance with two replicas that breaks down', function () {
  this.timeout(faultRounds * 200_000)
  let site: Site

  before(async () => {
    site = temporarySite('breakdown')
    const {operation} = await site.json('create', 'demo', '--ha', '--size', 'micro', '--no-backup')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
  })
  after(() => site?.dispose())

  const endpoints = (): number[] => processesOf([site.home]).filter(({what}) => /endpoint/.test(what)).map(({pid}) => pid)

  it('loses nothing when another server dies while the first comes back', () => underFault(site, async ({before, writers, tell}) => {
    signal(processesOfNode(site, before, primaryOf(before)), 'SIGKILL')
    const between = await untilOtherPrimary(site, before)
    signal(processesOfNode(site, between, primaryOf(between)), 'SIGKILL')
    await writers.goOn()
    tell('two in a row')
  }))

  it('loses nothing when its endpoint is killed', () => underFault(site, async ({before, writers, tell}) => {
    const killed = endpoints()
    assert.equal(killed.length, 1)
    signal(killed, 'SIGKILL')
    await until('another endpoint process', async () => endpoints().some((pid) => !killed.includes(pid)))
    await writers.goOn()
    tell('endpoint killed')
    assert.equal(primaryOf(await untilWhole(site, 'demo')).id, primaryOf(before).id)
  }))

  it('loses nothing when only the main process of its primary hangs: old sessions live, new ones are not served', () => underFault(site, async ({before, writers, tell}) => {
    process.kill(primaryOf(before).pid as number, 'SIGSTOP')
    // every session that ends from now on cannot be had again
    await untilOtherPrimary(site, before)
    await writers.goOn()
    tell('main process stopped')
    assert.match((await untilWhole(site, 'demo', 150)).replication?.last_change?.because ?? '', /has let no new client in/)
  }))

  /** One that is stopped while it flushes the log holds everybody up who commits: as a disk does that hangs, but it can be killed. */
  async function stopAtFlush(pids: readonly number[], written: () => number): Promise<void> {
    for (const until = performance.now() + 45_000; performance.now() < until; await pause(0)) {
      const pid = pids.find(isFlushing)
      if (pid === undefined) continue
      process.kill(pid, 'SIGSTOP')
      await pause(50)
      const before = written()
      await pause(1500)
      if (written() === before) return
      process.kill(pid, 'SIGCONT')
    }
    throw new Error('no session was caught at a flush')
  }

  it('loses nothing when nothing can be written on its primary, which answers', () => underFault(site, async ({before, writers, tell}) => {
    const main = primaryOf(before).pid as number
    const sessions = processesOfNode(site, before, primaryOf(before)).filter((pid) => pid !== main && /: app app /.test(factOf(pid, 'cmdline')))
    await stopAtFlush(sessions, writers.acknowledged)
    await untilOtherPrimary(site, before)
    await writers.goOn()
    tell('writes stalled')
    assert.match((await untilWhole(site, 'demo', 150)).replication?.last_change?.because ?? '', /nothing could be written/)
  }))
})
