/**
 * Writes snapshots, deletes and collects them, and archives a log, all at once, until it is killed. What it was told is
 * durable it says on standard output, a line each: `committed N SEED`, `deleting N`, `log SEGMENT OFFSET`, `full`.
 */
import {randomUUID} from 'node:crypto'
import {writeSync} from 'node:fs'
import {DbaasError} from '../../../src/core/errors.js'
import {openDataKeys} from '../../../src/agent/repositories/vault/keys.js'
import {openRepository, openVault} from '../../../src/agent/repositories/vault/index.js'
import {masterKeyFromEnvironment} from '../../../src/agent/repositories/vault/master-key.js'
import {createInlinePool} from '../../../src/agent/repositories/vault/pool.js'
import {openStore} from './support.js'
import {filesOf, segmentBytes, segmentContent, segmentName} from './crash-content.js'

const [incarnation, owner = 'site_crashing', lease = '60000'] = process.argv.slice(2) as [string, string?, string?]
const say = (line: string) => writeSync(1, `${line}\n`)
const store = openStore(process.env['TEST_STORE'] as string)
const keys = await openDataKeys(store, await openRepository(store), incarnation, masterKeyFromEnvironment('TEST_MASTER_KEY', process.env))
const vault = openVault({store, keys, pool: createInlinePool(), clock: {now: () => Date.now()}, owner, leaseMs: Number(lease), packBytes: 64 * 1024, graceMs: 600_000})
say('ready')

/** A full disk, or another writer, is no reason to stop: it is tried again, as the agent does. */
async function whileFull(work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!(error instanceof DbaasError) || !['DISK_FULL', 'LEASE_LOST', 'REPOSITORY_BUSY', 'BACKUP_NOT_FOUND'].includes(error.code)) throw error
    if (error.code !== 'DISK_FULL') say(error.code)
    if (error.code === 'DISK_FULL') say('full')
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
}

async function backups(): Promise<never> {
  for (;;) {
    await whileFull(async () => {
      const seed = randomUUID()
      const previous = (await vault.snapshots()).at(-1)?.number ?? null
      const writer = await vault.begin(previous)
      try {
        for (const [path, bytes] of filesOf(seed)) await writer.write({path, pageSize: 8192, content: {kind: 'whole', bytes: [bytes]}})
        await writer.commit({seed})
        say(`committed ${writer.number} ${seed}`)
      } catch (error) {
        await writer.abort('it failed').catch(() => undefined)
        throw error
      }
    })
  }
}

async function collections(): Promise<never> {
  for (;;) {
    await whileFull(async () => {
      const snapshots = await vault.snapshots()
      for (const {number} of snapshots.slice(0, Math.max(0, snapshots.length - 4))) {
        say(`deleting ${number}`)
        await vault.delete(number)
      }
      await vault.collect()
    })
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function log(): Promise<never> {
  for (;;) {
    await whileFull(async () => {
      const end = await vault.log.end()
      let segment = end === null ? 1 : Number(end.segment) + (end.final ? 1 : 0)
      let start = end === null || end.final ? 0 : end.offset
      for (let fresh = end === null; ; fresh = false) {
        const bytes = segmentContent(segment).subarray(start, start + 4096 + Math.floor(Math.random() * 20_000))
        const final = start + bytes.length === segmentBytes
        await vault.log.append({timeline: '00000001', segment: segmentName(segment), start, bytes, final, at: Date.now(), ...(fresh ? {fresh: 'the first'} : {})})
        say(`log ${segment} ${start + bytes.length}`)
        start += bytes.length
        if (!final) continue
        await vault.log.compact('00000001', segmentName(segment))
        if (segment % 8 === 0) await vault.log.prune((point) => point.segment > segmentName(segment - 4))
        segment++
        start = 0
      }
    })
  }
}

await Promise.all([backups(), collections(), log()])
