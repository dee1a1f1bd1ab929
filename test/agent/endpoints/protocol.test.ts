import assert from 'node:assert/strict'
import fc from 'fast-check'
import {LineDecoder, type Reply, encode} from '../../../src/agent/endpoints/protocol.js'

describe('the control protocol', () => {
  it('reads what was written, wherever the stream is cut', () => {
    fc.assert(fc.property(
      fc.array(fc.record({id: fc.nat(), result: fc.string({unit: 'grapheme'})}, {noNullPrototype: true}), {maxLength: 8}),
      fc.infiniteStream(fc.integer({min: 1, max: 40})),
      (messages: Reply[], cuts) => {
        const bytes = Buffer.from(messages.map(encode).join(''))
        const decoder = new LineDecoder<Reply>()
        const read: Reply[] = []
        for (let at = 0; at < bytes.length;) {
          const size = cuts.next().value as number
          read.push(...decoder.push(bytes.subarray(at, at + size)))
          at += size
        }
        assert.deepEqual(read, messages)
      },
    ), {numRuns: 300})
  })

  it('refuses what is not JSON, and a line without an end', () => {
    assert.throws(() => new LineDecoder().push(Buffer.from('hello\n')))
    const endless = new LineDecoder()
    assert.throws(() => {
      for (;;) endless.push(Buffer.alloc(1024 * 1024, 'x'))
    }, /longer than/)
  })
})
