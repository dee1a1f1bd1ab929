import assert from 'node:assert/strict'
import fc from 'fast-check'
import {createFrames} from '../../../../src/engines/postgresql/backup/frames.js'
import {createServerMessages, epochMicros} from '../../../../src/engines/postgresql/backup/replication-messages.js'

const message = (code: string, body: Uint8Array): Buffer => {
  const header = Buffer.alloc(5)
  header.write(code, 0, 'latin1')
  header.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([header, body])
}

describe('messages of the wire', () => {
  it('give the data of copies apart, and all the rest as it came, however they are cut', () => {
    const one = fc.record({code: fc.constantFrom('d', 'd', 'd', 'D', 'C', 'Z', 'N'), body: fc.uint8Array({maxLength: 40}), wanted: fc.boolean()})
    fc.assert(fc.property(fc.array(one, {maxLength: 12}), fc.array(fc.nat(30), {minLength: 1, maxLength: 40}), (messages, cuts) => {
      const parts: Buffer[][] = []
      const passed: Buffer[] = []
      let copies = 0
      const wanted = messages.filter(({code, body}) => code === 'd' && body.length > 0)
      const frames = createFrames({
        wantsParts: () => wanted[copies++]?.wanted === true,
        part: (bytes, isStart) => (isStart ? parts.push([Buffer.from(bytes)]) : parts.at(-1)?.push(Buffer.from(bytes))),
        pass: (bytes) => void passed.push(Buffer.from(bytes)),
      })
      const all = Buffer.concat(messages.map(({code, body}) => message(code, body)))
      for (let at = 0, i = 0; at < all.length; i++) {
        const length = Math.max(1, cuts[i % cuts.length] as number)
        frames.push(all.subarray(at, at + length))
        at += length
      }
      const apart = wanted.filter((one_) => one_.wanted)
      assert.deepEqual(parts.map((list) => Buffer.concat(list).toString('hex')), apart.map(({body}) => Buffer.from(body).toString('hex')))
      const rest = messages.filter((one_) => !apart.includes(one_)).map(({code, body}) => message(code, body))
      assert.equal(Buffer.concat(passed).toString('hex'), Buffer.concat(rest).toString('hex'))
    }), {numRuns: 500})
  })

  it('of the log are put together, but for the log in them', () => {
    const one = fc.record({isLog: fc.boolean(), start: fc.nat(2 ** 30), micros: fc.nat(2 ** 30), data: fc.uint8Array({maxLength: 60}), replyNow: fc.boolean()})
    fc.assert(fc.property(fc.array(one, {maxLength: 10}), fc.array(fc.nat(20), {minLength: 1, maxLength: 40}), (messages, cuts) => {
      const seen: string[] = []
      let data: Buffer[] = []
      const part = createServerMessages({
        begin: () => { data = [] },
        data: (bytes) => void data.push(Buffer.from(bytes)),
        end: ({kind, start, micros, replyNow}) => void seen.push(`${kind} ${start} ${micros - epochMicros} ${replyNow} ${Buffer.concat(data).toString('hex')}`),
      })
      for (const {isLog, start, micros, data: log, replyNow} of messages) {
        const header = Buffer.alloc(isLog ? 25 : 18)
        header[0] = isLog ? 0x77 : 0x6b
        header.writeBigUInt64BE(BigInt(start), 1)
        if (isLog) header.writeBigUInt64BE(BigInt(start + log.length), 9)
        header.writeBigInt64BE(BigInt(micros), isLog ? 17 : 9)
        if (!isLog) header[17] = replyNow ? 1 : 0
        const all = Buffer.concat([header, isLog ? log : Buffer.alloc(0)])
        for (let at = 0, i = 0; at < all.length; i++) {
          const length = Math.max(1, cuts[i % cuts.length] as number)
          part(all.subarray(at, at + length), at === 0, at + length >= all.length)
          at += length
        }
      }
      assert.deepEqual(seen, messages.map(({isLog, start, micros, data: log, replyNow}) =>
        `${isLog ? 'log' : 'alive'} ${start} ${micros} ${!isLog && replyNow} ${isLog ? Buffer.from(log).toString('hex') : ''}`))
    }), {numRuns: 500})
  })
})
