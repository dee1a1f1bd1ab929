/** Killed with SIGKILL at any moment, on a disk that may be full: what was acknowledged is there, nothing half counts, all else is collected. */
import assert from 'node:assert/strict'
import {execFileSync, spawn} from 'node:child_process'
import {mkdirSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {listAll} from '../../../src/agent/repositories/repository.js'
import {openDirectory} from '../../../src/agent/repositories/directory/index.js'
import {createDataKeys} from '../../../src/agent/repositories/vault/keys.js'
import {openRepository, openVault} from '../../../src/agent/repositories/vault/index.js'
import type {SnapshotWriter} from '../../../src/agent/repositories/vault/writer.js'
import {createInlinePool} from '../../../src/agent/repositories/vault/pool.js'
import {projectRoot} from '../../support/site.js'
import {realRuns} from '../../support/runs.js'
import {makeBucket, s3OrSkip} from '../../support/s3.js'
import {temporaryFolder} from '../../support/temporary.js'
import {filesOf, segmentBytes, segmentContent, segmentName} from './crash-content.js'
import {assertSameFiles, contentsOf, masterKey, openStore} from './support.js'

const incarnation = '11111111-2222-4333-8444-555555555555'

/** Starts the writer; `ended` gives the lines that it said until it was killed. */
function startWriter(where: string, key: Buffer, ...more: string[]) {
  const writer = fileURLToPath(new URL('crashing-writer.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', writer, incarnation, ...more], {
    cwd: projectRoot, env: {...process.env, TEST_STORE: where, TEST_MASTER_KEY: key.toString('hex')}, stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  let complaint = ''
  let waiting: {what: string; from: number; resolve: () => void} | undefined
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString()
    if (waiting && said.includes(waiting.what, waiting.from)) waiting.resolve()
  })
  child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()))
  const ended = new Promise<string[]>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (signal === 'SIGKILL') resolve(said.split('\n').slice(0, -1))
      else reject(new Error(`the writer ended by itself (${code}): ${complaint}`))
    })
  })
  /** Waits until it says so once more. */
  const until = (what: string) => Promise.race([new Promise<void>((resolve) => (waiting = {what, from: said.length, resolve})), ended.then(() => undefined)])
  return {child, ended, until}
}

/** Runs the writer and kills it so long after its first word. */
async function runAndKill(where: string, key: Buffer, afterMs: number): Promise<string[]> {
  const {child, ended, until} = startWriter(where, key)
  await until('ready')
  setTimeout(() => child.kill('SIGKILL'), afterMs)
  return ended
}

async function killManyTimes(where: string, kills: number, withinMs = 900): Promise<{full: number; committed: number}> {
  const master = masterKey()
  const store = openStore(where)
  const keys = await createDataKeys(store, await openRepository(store), incarnation, master)
  const clock = {skew: 0, now: () => Date.now() + clock.skew}
  const open = () => openVault({store, keys, pool: createInlinePool(), clock, owner: 'site_crashing', graceMs: 600_000})
  /** What must be there: acknowledged, and its deletion was not begun. */
  const committed = new Map<number, string>()
  let logEnd = {segment: 0, offset: 0}
  const counts = {full: 0, committed: 0}
  for (let kill = 0; kill < kills; kill++) {
    for (const line of await runAndKill(where, await master.load(), 50 + Math.random() * withinMs)) {
      const [what, a, b] = line.split(' ')
      if (what === 'committed') {
        committed.set(Number(a), b as string)
        counts.committed++
      } else if (what === 'deleting') committed.delete(Number(a))
      else if (what === 'log') logEnd = {segment: Number(a), offset: Number(b)}
      else if (what === 'full') counts.full++
    }
    const vault = open()
    const there = await vault.snapshots()
    for (const n of committed.keys()) assert.ok(there.some(({number}) => number === n), `snapshot ${n} was acknowledged and is gone`)
    for (const {number, meta} of there) {
      assert.deepEqual((await vault.verify(number)).damages, [])
      assertSameFiles(await contentsOf(vault, number), filesOf(meta['seed'] as string))
    }
    const check = await vault.log.check()
    assert.deepEqual(check.damages, [])
    const end = await vault.log.end()
    if (logEnd.segment > 0) {
      assert.ok(end && (Number(end.segment) > logEnd.segment || (Number(end.segment) === logEnd.segment && end.offset >= logEnd.offset)), `${JSON.stringify(end)} is before ${JSON.stringify(logEnd)}`)
    }
    for await (const {timeline, segment} of vault.log.segments()) {
      const {bytes} = await vault.log.read(timeline, segment)
      assert.ok(Buffer.from(bytes).equals(segmentContent(Number(segment)).subarray(0, bytes.length)), segmentName(Number(segment)))
    }
  }
  // In the end nothing is left but what is needed. What the last one left has its own time of grace, from when it is known to be dead.
  const vault = open()
  clock.skew = 3 * 3_600_000
  await vault.collect()
  clock.skew = 6 * 3_600_000
  assert.equal((await vault.collect()).because, null)
  await store.tidy(0)
  const needed = new Set((await vault.snapshots()).flatMap(({number, packs}) => [
    ...packs.map(([session, name]) => `${incarnation}/packs/${String(session).padStart(8, '0')}/${name}`), `${incarnation}/trees/${String(number).padStart(8, '0')}`,
  ]))
  const found: string[] = []
  for await (const {name} of listAll(store, `${incarnation}/`)) if (/\/(packs|trees|sweeps)\//.test(name)) found.push(name)
  assert.deepEqual(found.sort(), [...needed].sort())
  for (const {number, meta} of await vault.snapshots()) assertSameFiles(await contentsOf(vault, number), filesOf(meta['seed'] as string))
  return counts
}

/** Two agents: one is stopped again and again at random moments (a machine that sleeps), the other takes over meanwhile. */
async function stopManyTimes(root: string, stops: number): Promise<{lost: number; taken: number}> {
  const leaseMs = 300
  const master = masterKey()
  const store = openDirectory(root)
  const keys = await createDataKeys(store, await openRepository(store), incarnation, master)
  const other = openVault({store, keys, pool: createInlinePool(), clock: {now: () => Date.now()}, owner: 'site_other', leaseMs, graceMs: 600_000})
  const first = startWriter(root, await master.load(), 'site_first', String(leaseMs))
  const committed = new Map<number, string>()
  let taken = 0
  try {
    await first.until('committed')
    for (let stop = 0; stop < stops; stop++) {
      await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 400))
      first.child.kill('SIGSTOP')
      for (let writer: SnapshotWriter | undefined; !writer; ) {
        writer = await other.begin((await other.snapshots()).at(-1)?.number ?? null).catch((error: {code: string}) => {
          assert.equal(error.code, 'REPOSITORY_BUSY')
          return undefined
        })
        if (!writer) {
          await new Promise((resolve) => setTimeout(resolve, 50))
          continue
        }
        taken++
        const seed = `other-${stop}`
        for (const [file, bytes] of filesOf(seed)) await writer.write({path: file, pageSize: 8192, content: {kind: 'whole', bytes: [bytes]}})
        // At times it wakes up in the middle.
        if (stop % 2 === 0) first.child.kill('SIGCONT')
        // On a machine that is busy it may be this one whose lease runs out.
        const snapshot = await writer.commit({seed}).catch((error: {code: string}) => assert.equal(error.code, 'LEASE_LOST'))
        if (snapshot) committed.set(snapshot.number, seed)
      }
      const end = await other.log.end()
      if (end && !end.final) {
        const bytes = segmentContent(Number(end.segment)).subarray(end.offset, end.offset + 1000)
        await other.log.append({timeline: end.timeline, segment: end.segment, start: end.offset, bytes, final: end.offset + bytes.length === segmentBytes, at: Date.now()})
          .catch((error: {code: string}) => assert.equal(error.code, 'LEASE_LOST'))
      }
      first.child.kill('SIGCONT')
      await first.until('committed')
    }
  } finally {
    first.child.kill('SIGKILL')
  }
  const said = await first.ended
  for (const line of said) {
    const [what, a, b] = line.split(' ')
    if (what === 'committed') committed.set(Number(a), b as string)
  }
  for (const line of said) if (line.startsWith('deleting ')) committed.delete(Number(line.split(' ')[1]))
  const there = await other.snapshots()
  for (const n of committed.keys()) assert.ok(there.some(({number}) => number === n), `snapshot ${n} was acknowledged and is gone`)
  for (const {number, meta} of there) {
    assert.deepEqual((await other.verify(number)).damages, [])
    assertSameFiles(await contentsOf(other, number), filesOf(meta['seed'] as string))
  }
  assert.deepEqual((await other.log.check()).damages, [])
  for await (const {timeline, segment} of other.log.segments()) {
    const {bytes} = await other.log.read(timeline, segment)
    assert.ok(Buffer.from(bytes).equals(segmentContent(Number(segment)).subarray(0, bytes.length)), segment)
  }
  return {lost: said.filter((line) => line === 'LEASE_LOST').length, taken}
}

describe('a writer that is killed', function () {
  this.timeout(1_200_000)

  it('at random moments loses nothing that it was told is stored, and leaves nothing that stays', async () => {
    const {path, dispose} = temporaryFolder('crash')
    try {
      const {committed} = await killManyTimes(join(path, 'repository'), realRuns(12))
      assert.ok(committed > 5, `${committed} snapshots`)
    } finally {
      dispose()
    }
  })

  it('is not, but stopped for longer than its lease while another writes: what it goes on with does not count', async () => {
    const {path, dispose} = temporaryFolder('crash-stop')
    try {
      const {lost, taken} = await stopManyTimes(join(path, 'repository'), realRuns(8, 60))
      assert.ok(taken > 5 && lost > 0, `${taken} sessions taken over, ${lost} leases lost`)
    } finally {
      dispose()
    }
  })

  it('at random moments, on a disk that is full most of the time', async function () {
    if (process.getuid?.() !== 0) return this.skip()
    const {path, dispose} = temporaryFolder('crash-full')
    const root = join(path, 'small')
    mkdirSync(root)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2600k', 'tmpfs', root])
    try {
      const {full} = await killManyTimes(root, realRuns(8))
      assert.ok(full > 5, `it was full ${full} times`)
    } finally {
      execFileSync('umount', [root])
      dispose()
    }
  })
})

describe('a writer that is killed, over S3', function () {
  this.timeout(1_200_000)
  const servers = s3OrSkip()

  it('loses nothing that it was told is stored, and leaves nothing that stays', async () => {
    const {options, dispose} = await makeBucket(servers().ceph)
    try {
      const {committed} = await killManyTimes(JSON.stringify({...options, prefix: 'crash'}), realRuns(8), 3000)
      assert.ok(committed > 3, `${committed} snapshots`)
    } finally {
      await dispose()
    }
  })
})
