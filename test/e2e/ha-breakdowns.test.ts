/** Breakdowns that are rarer than a kill: another server dies while the first comes back, the endpoint dies, a main process hangs. */
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {setTimeout as pause} from 'node:timers/promises'
import {assertSameEverywhere, changesOf, instanceOf, primaryOf, processesOfNode, signal, startWriters, untilWhole} from '../support/ha.js'
import {full} from '../support/runs.js'
import {processesOf, temporarySite, type Site} from '../support/site.js'
import {until} from '../support/until.js'

/** It is in the system call fdatasync, of x86-64 or of arm64. */
const isFlushing = (pid: number): boolean => /^(?:75|83) /.test(readFileSync(`/proc/${pid}/syscall`, 'utf8'))
const rounds = full ? 5 : 1

describe('an instance with two replicas that breaks down', function () {
  this.timeout(rounds * 200_000)
  let site: Site
  const tell = (text: string): void => void process.stdout.write(`      ${text}\n`)

  before(async () => {
    site = temporarySite('breakdown')
    const {operation} = await site.json('create', 'demo', '--ha', '--size', 'micro', '--no-backup')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
  })
  after(() => site?.dispose())

  const endpoints = (): number[] => processesOf([site.home]).filter(({what}) => /endpoint/.test(what)).map(({pid}) => pid)
  const untilOther = (than: string) => until('another primary', async () => primaryOf(await instanceOf(site, 'demo')).id !== than, 60)

  it('loses nothing when another server dies while the first comes back', async () => {
    for (let round = 0; round < rounds; round++) {
      const before = await untilWhole(site, 'demo')
      const writers = await startWriters(site, 'demo')
      writers.gapMs()
      signal(processesOfNode(site, before, primaryOf(before)), 'SIGKILL')
      await untilOther(primaryOf(before).id)
      const between = await instanceOf(site, 'demo')
      signal(processesOfNode(site, between, primaryOf(between)), 'SIGKILL')
      await writers.goOn()
      tell(`two in a row: ${writers.gapMs()} ms without a write`)
      await writers.stop()
      await assertSameEverywhere(site, await untilWhole(site, 'demo'))
    }
  })

  it('loses nothing when its endpoint is killed', async () => {
    for (let round = 0; round < rounds; round++) {
      const before = await untilWhole(site, 'demo')
      const writers = await startWriters(site, 'demo')
      writers.gapMs()
      const killed = endpoints()
      assert.equal(killed.length, 1)
      signal(killed, 'SIGKILL')
      await until('another endpoint process', async () => endpoints().some((pid) => !killed.includes(pid)))
      await writers.goOn()
      tell(`endpoint killed: ${writers.gapMs()} ms without a write`)
      await writers.stop()
      const after = await untilWhole(site, 'demo')
      assert.equal(primaryOf(after).id, primaryOf(before).id)
      await assertSameEverywhere(site, after)
    }
  })

  it('loses nothing when only the main process of its primary hangs: old sessions live, new ones are not served', async () => {
    for (let round = 0; round < rounds; round++) {
      const before = await untilWhole(site, 'demo')
      const writers = await startWriters(site, 'demo')
      writers.gapMs()
      process.kill(primaryOf(before).pid as number, 'SIGSTOP')
      // every session that ends from now on cannot be had again
      await untilOther(primaryOf(before).id)
      await writers.goOn()
      tell(`postmaster stopped: ${writers.gapMs()} ms without a write; ${(await changesOf(site, 'demo'))[0]?.kind}`)
      await writers.stop()
      const after = await untilWhole(site, 'demo')
      assert.match(after.replication?.last_change?.because ?? '', /has let no new client in/)
      await assertSameEverywhere(site, after)
    }
  })
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

  it('loses nothing when nothing can be written on its primary, which answers', async () => {
    for (let round = 0; round < rounds; round++) {
      const before = await untilWhole(site, 'demo')
      const writers = await startWriters(site, 'demo')
      const main = primaryOf(before).pid as number
      const sessions = processesOfNode(site, before, primaryOf(before)).filter((pid) => pid !== main && /: app app /.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8')))
      writers.gapMs()
      await stopAtFlush(sessions, writers.acknowledged)
      await untilOther(primaryOf(before).id)
      await writers.goOn()
      tell(`writes stalled: ${writers.gapMs()} ms without a write`)
      await writers.stop()
      const after = await untilWhole(site, 'demo')
      assert.match(after.replication?.last_change?.because ?? '', /nothing could be written/)
      await assertSameEverywhere(site, after)
    }
  })
})
