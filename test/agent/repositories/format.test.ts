/** docs/repository-format.md is true: who has only read it can read a repository. */
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {bestCodec, type Codec} from '../../../src/agent/repositories/vault/codec.js'
import {read, readLog} from './independent-reader.mjs'
import {assertSameFiles, makePlace, takeSnapshot, whole, type Files} from './support.js'

describe('the format of a repository', () => {
  // zstd by whoever has it: then it is the one that is used.
  const codecs: readonly Codec[] = [...new Set(['raw', 'gzip', 'brotli', bestCodec()] as const)]
  for (const codec of codecs) {
    it(`is enough to restore a snapshot of several generations and the log, compressed by ${codec}`, async () => {
      const place = await makePlace('format')
      try {
        const vault = place.vault({codec, packBytes: 512 * 1024})
        let files: Files = new Map([['base/1/2', Buffer.concat([randomBytes(1_500_000), Buffer.alloc(3_000_000), Buffer.from('end')])], ['umläut "x"', Buffer.from('18\n')], ['empty', Buffer.alloc(0)]])
        const mysql = Buffer.concat([randomBytes(40_000), Buffer.alloc(100_000, 'row ')])
        let n: number | null = null
        for (let round = 0; round < 4; round++) {
          const next = new Map(files)
          const bytes = Buffer.from(files.get('base/1/2') as Buffer)
          bytes.fill(round, round * 100_000, round * 100_000 + 10)
          next.set('base/1/2', bytes)
          files = next
          n = await takeSnapshot(vault, n, [...[...files].map(([path, content]) => whole(path, content)), whole('ibdata1', mysql, 16_384)], {label: 'before the ünion', round})
        }
        const found = read(place.root, await place.master.load(), place.keys.incarnation, n as number)
        assertSameFiles(found.files, new Map([...files, ['ibdata1', mysql]]))
        assert.deepEqual(found.meta, {label: 'before the ünion', round: 3})

        const bytes = randomBytes(900)
        for (let i = 0; i < 9; i++) {
          await vault.log.append({
            timeline: '00000001', segment: `00000${Math.floor(i / 3)}`, start: (i % 3) * 100, bytes: bytes.subarray(i * 100, i * 100 + 100), final: i % 3 === 2, at: i,
            ...(i === 0 ? {fresh: 'the first'} : {}),
          })
        }
        await vault.log.compact('00000001', '000001')
        const log = readLog(place.root, await place.master.load(), place.keys.incarnation)
        assert.equal(log.length, 3)
        assert.ok(Buffer.concat(log.map((segment) => segment.bytes)).equals(bytes))
      } finally {
        place.dispose()
      }
    })
  }
})
