import fc from 'fast-check'
import assert from 'node:assert/strict'
import {serverEvents} from '../../../src/agent/client/event-stream.js'
import type {ServerEvent} from '../../../src/agent/client/event-stream.js'

const parse = async (chunks: readonly Uint8Array[]): Promise<ServerEvent[]> => {
  async function* source() {
    yield* chunks
  }
  const events: ServerEvent[] = []
  for await (const event of serverEvents(source())) events.push(event)
  return events
}

function cut(bytes: Uint8Array, at: readonly number[]): Uint8Array[] {
  const places = [...new Set(at.map((n) => n % (bytes.length + 1)))].sort((a, b) => a - b)
  return [0, ...places].map((from, i) => bytes.subarray(from, places[i] ?? bytes.length))
}

describe('a stream of events', () => {
  it('reads as the standard says', async () => {
    const text =
      ': comment\n\nevent: operation\ndata: {"a":1}\n\ndata:no space\ndata: two lines\nid: 7\nretry: 5\n\n' +
      'event: empty\n\ndata\n\ndata: cut off'
    assert.deepEqual(await parse([Buffer.from(text)]), [
      {event: 'operation', data: '{"a":1}'},
      {event: 'message', data: 'no space\ntwo lines'},
      {event: 'message', data: ''},
    ])
  })

  it('is the same however the bytes are cut and the lines ended', async () => {
    const word = fc.string({unit: 'grapheme'}).map((text) => text.replace(/[\r\n]/g, ' '))
    const event = fc.record(
      {
        event: word.filter((name) => name !== ''),
        data: fc.array(word, {minLength: 1, maxLength: 3}).map((lines) => lines.join('\n')),
      },
      {noNullPrototype: true},
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(event, {maxLength: 5}),
        fc.constantFrom('\n', '\r', '\r\n'),
        fc.array(fc.nat(), {maxLength: 20}),
        async (events, end, cuts) => {
          const text = events
            .map(({event: name, data}) =>
              [`event: ${name}`, ': a comment', ...data.split('\n').map((line) => `data: ${line}`), '', ''].join(end),
            )
            .join('')
          assert.deepEqual(await parse(cut(Buffer.from(text), cuts)), events)
        },
      ),
      {numRuns: 300},
    )
  })
})
