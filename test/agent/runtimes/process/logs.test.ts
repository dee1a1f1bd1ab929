import assert from 'node:assert/strict'
import {appendFileSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import fc from 'fast-check'
import {readLog, splitLines, trimLog} from '../../../../src/agent/runtimes/process/logs.js'
import {temporaryFolder} from '../../../support/temporary.js'

const never = new AbortController().signal
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function read(path: string, lines?: number): Promise<string[]> {
  const found: string[] = []
  for await (const line of readLog(path, {follow: false, signal: never, ...(lines === undefined ? {} : {lines})}, async () => true)) found.push(line)
  return found
}

describe('the log of a server', () => {
  const folder = temporaryFolder('logs')
  const path = join(folder.path, 'server.log')
  afterEach(() => rmSync(path, {force: true}))
  after(() => folder.dispose())

  it('gives the same lines wherever the chunks are cut, characters included', () => {
    const line = fc.string({unit: 'binary'}).map((text) => text.replace(/[\r\n]/g, ''))
    fc.assert(fc.property(fc.array(line), fc.array(fc.integer({min: 1, max: 7}), {minLength: 1}), (lines, cuts) => {
      const bytes = Buffer.from(lines.map((each) => `${each}\n`).join(''))
      const seen: string[] = []
      let rest: Buffer<ArrayBuffer> = Buffer.alloc(0)
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const end = at + (cuts[i % cuts.length] as number)
        const split = splitLines(rest, bytes.subarray(at, end))
        seen.push(...split.whole)
        rest = split.rest
        at = end
      }
      assert.deepEqual(seen, lines.map((each) => Buffer.from(each).toString('utf8')))
      assert.equal(rest.length, 0)
    }), {numRuns: 300})
  })

  it('gives the last N lines of any file, with or without an end of the last, however long they are', async () => {
    const line = fc.oneof(fc.constant(''), fc.string({unit: 'grapheme-ascii'}), fc.integer({min: 60_000, max: 70_000}).map((n) => 'x'.repeat(n)))
    await fc.assert(fc.asyncProperty(fc.array(line, {maxLength: 6}), fc.integer({min: 0, max: 8}), fc.boolean(), async (lines, count, ended) => {
      const clean = lines.map((each) => each.replace(/[\r\n]/g, ''))
      writeFileSync(path, clean.join('\n') + (ended && clean.length > 0 ? '\n' : ''))
      // without its end, an empty last line is no line
      const all = ended || clean.at(-1) !== '' ? clean : clean.slice(0, -1)
      assert.deepEqual(await read(path, count), count === 0 ? [] : all.slice(-count))
      assert.deepEqual(await read(path), all)
    }), {numRuns: 150})
  })

  it('gives nothing where there is no log, and does not follow a link that was planted', async () => {
    assert.deepEqual(await read(path), [])
    const {symlinkSync} = await import('node:fs')
    symlinkSync('/etc/passwd', path)
    await assert.rejects(read(path), {code: 'ELOOP'})
  })

  it('follows through truncation, replacement and trimming without a line lost or given twice', async () => {
    writeFileSync(path, 'one\n')
    const stop = new AbortController()
    const seen: string[] = []
    const following = (async () => {
      for await (const line of readLog(path, {follow: true, signal: stop.signal}, async () => true)) seen.push(line)
    })()
    const until = async (line: string) => {
      for (let i = 0; !seen.includes(line); i++) {
        assert.ok(i < 300, `${line} never came: ${seen.join(' ')}`)
        await pause(10)
      }
    }
    await until('one')
    appendFileSync(path, 'two\nthr')
    await until('two')
    appendFileSync(path, 'ee\n')
    await until('three')
    trimLog(path, 8, 7)
    appendFileSync(path, 'four\n')
    await until('four')
    truncateSync(path, 0)
    appendFileSync(path, 'five\n')
    await until('five')
    renameSync(path, `${path}.1`)
    writeFileSync(path, 'six\n')
    await until('six')
    rmSync(`${path}.1`)
    stop.abort()
    await following
    assert.deepEqual(seen, ['one', 'two', 'three', 'four', 'five', 'six'])
  })

  it('ends following when the place is gone', async () => {
    for await (const line of readLog(path, {follow: true, signal: never}, async () => false)) assert.fail(line)
  })

  it('keeps the end of a long log, beginning with a whole line, and leaves a short one alone', () => {
    const lines = Array.from({length: 1000}, (_, i) => `line ${i}`)
    writeFileSync(path, `${lines.join('\n')}\n`)
    const {size, ino} = statSync(path)
    trimLog(path, size, 100)
    assert.equal(statSync(path).size, size)
    trimLog(path, size - 1, 100)
    const kept = readFileSync(path, 'utf8')
    assert.ok(kept.length <= 100 && kept.length > 80, String(kept.length))
    assert.match(kept, /^line \d+\n(line \d+\n)*line 999\n$/)
    assert.equal(statSync(path).ino, ino, 'the server goes on writing to the same file')
  })
})
