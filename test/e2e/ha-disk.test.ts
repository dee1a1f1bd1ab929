/** A primary whose disk, a small one of its own, is full: another one with room takes its place, and it comes back when there is room again. */
import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {closeSync, mkdirSync, openSync, rmSync, writeSync} from 'node:fs'
import {join} from 'node:path'
import type {ApiNode} from '../../src/core/api/schemas.js'
import {changesOf, instanceOf, primaryOf, underFault, untilWhole} from '../support/ha.js'
import {needOrSkip} from '../support/need.js'
import {faultRounds} from '../support/runs.js'
import {dataRootOf, temporarySite, type Site} from '../support/site.js'
import {temporaryFolder} from '../support/temporary.js'
import {until} from '../support/until.js'

/** Beside what the node has at first: what it keeps of its log for others grows with each change of primary, and shall not be what fills it. */
const roomMib = 128 * faultRounds

describe('an instance with two replicas whose primary has a small disk', function () {
  this.timeout(faultRounds * 240_000)
  let folder: ReturnType<typeof temporaryFolder> | undefined
  let disk = ''
  let filler = ''
  needOrSkip(() => {
    folder = temporaryFolder('full')
    disk = join(folder.path, 'disk')
    filler = join(disk, 'filler')
    mkdirSync(disk)
    try {
      execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', disk], {stdio: 'pipe'})
      return undefined
    } catch {
      return 'no tmpfs can be mounted here'
    }
  })
  let site: Site
  let small: ApiNode
  let place = ''

  before(async () => {
    site = temporarySite('ha-disk')
    const {operation} = await site.json('create', 'demo', '--ha', '--size', 'micro', '--no-backup')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
    const instance = await untilWhole(site, 'demo')
    small = primaryOf(instance)
    assert.equal((await site.json('stop', 'demo')).operation?.status, 'succeeded')
    place = join(dataRootOf(site.home), 'instances', instance.id, small.id)
    execFileSync('cp', ['-a', `${place}/.`, disk])
    const used = Math.ceil(Number(execFileSync('df', ['--output=used', '-B1', disk]).toString().split('\n')[1]) / 1024 ** 2)
    execFileSync('mount', ['-o', `remount,size=${used + roomMib}m`, disk])
    execFileSync('mount', ['--bind', disk, place])
    assert.equal((await site.json('start', 'demo')).operation?.status, 'succeeded')
  })
  after(async () => {
    await site?.run('stop', 'demo')
    for (const path of [place, disk]) {
      try {
        execFileSync('umount', ['-l', path], {stdio: 'pipe'})
      } catch {
        // it was never mounted
      }
    }
    await site?.dispose()
    folder?.dispose()
  })

  /** To the last byte, also what has been given back since. */
  function fill(): void {
    const file = openSync(filler, 'a')
    try {
      for (const bytes of [Buffer.alloc(65_536), Buffer.alloc(512)]) {
        try {
          for (;;) writeSync(file, bytes)
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
        }
      }
    } finally {
      closeSync(file)
    }
  }

  it('goes on at one that has room, loses nothing, and takes the first one back when it has room again', () => underFault(site, async ({before, writers, tell}) => {
    if (primaryOf(before).id !== small.id) {
      const {operation} = await site.json('switchover', 'demo', '--to', small.name)
      assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
      await untilWhole(site, 'demo')
      await writers.goOn()
    }
    writers.gapMs()
    try {
      await until('another primary', async () => {
        fill()
        return primaryOf(await instanceOf(site, 'demo')).id !== small.id
      }, 90)
      await writers.goOn()
      const [change] = await changesOf(site, 'demo')
      const {because = ''} = (change?.result ?? {}) as {because?: string}
      tell(`disk full (${because})`)
      // where the log finds no place it is a crash; rows find none before
      assert.match(because, /the disk of .* has been full for .* has room|process of .* is gone/)
    } finally {
      rmSync(filler)
    }
  }))

  it('does not hand over to a server whose disk is full', () => underFault(site, async ({before, writers}) => {
    const primary = primaryOf(before)
    assert.notEqual(primary.id, small.id)
    try {
      fill()
      const ran = await site.run('switchover', 'demo', '--to', small.name, '--json')
      assert.notEqual(ran.code, 0)
      // its receiver may end of it before anybody has asked for room
      assert.match((JSON.parse(ran.stdout) as {error: {message: string}}).error.message, /^(?:the disk of \S+ is full, so it cannot become primary|\S+ does not .*)$/)
      await writers.goOn()
      assert.equal(primaryOf(await instanceOf(site, 'demo')).id, primary.id)
    } finally {
      rmSync(filler)
    }
  }))
})
