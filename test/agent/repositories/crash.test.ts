/** Killed with SIGKILL at any moment, on a disk that may be full: what was acknowledged is there, nothing half counts, all else is collected. */
import assert from 'node:assert/strict'
import {execFileSync, spawn} from 'node:child_process'
import {mkdirSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {listAll} from '../../../src/agent/repositories/repository.js'
import {createDataKeys} from '../../../src/agent/repositories/vault/keys.js'
import {openRepository, openVault} from '../../../src/agent/repositories/vault/index.js'
import {createInlinePool} from '../../../src/agent/repositories/vault/pool.js'
import {projectRoot} from '../../support/site.js'
import {realRuns} from '../../support/runs.js'
import {makeBucket, s3OrSkip} from '../../support/s3.js'
import {temporaryFolder} from '../../support/temporary.js'
import {filesOf, segmentContent, segmentName} from './crash-content.js'
import {assertSameFiles, contentsOf, masterKey, openStore} from './support.js'

const incarnation = '11111111-2222-4333-8444-555555555555'

/** Runs the writer until it is killed; gives the lines that it said. */
function runAndKill(where: string, key: Buffer, afterMs: number): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const writer = fileURLToPath(new URL('crashing-writer.ts', import.meta.url))
    const child = spawn(process.execPath, ['--import', 'tsx', writer, incarnation], {
      cwd: projectRoot, env: {...process.env, TEST_STORE: where, TEST_MASTER_KEY: key.toString('hex')}, stdio: ['ignore', 'pipe', 'pipe'],
    })
    let said = ''
    let complaint = ''
    child.stdout.on('data', (chunk: Buffer) => {
      const ready = said.length > 0
      said += chunk.toString()
      if (!ready) setTimeout(() => child.kill('SIGKILL'), afterMs)
    })
    child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()))
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (signal === 'SIGKILL') resolve(said.split('\n').slice(0, -1))
      else reject(new Error(`the writer ended by itself (${code}): ${complaint}`))
    })
  })
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
  // In the end nothing is left but what is needed.
  clock.skew = 3 * 3_600_000
  const vault = open()
  await vault.collect()
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
