/** Server-sent events (HTML standard, section 9.2.6): bytes in, events out. */

export interface ServerEvent {
  readonly event: string
  readonly data: string
}

/**
 * Chunks may end anywhere, inside a character or between CR and LF too. An event that the end of the stream cuts off
 * is dropped, as the standard asks. Comments (heartbeats), ids and retry times are not passed on.
 */
export async function* serverEvents(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  let event = ''
  let data: string[] = []
  for await (const line of lines(chunks)) {
    if (line === '') {
      if (data.length > 0) yield {event: event === '' ? 'message' : event, data: data.join('\n')}
      event = ''
      data = []
      continue
    }
    const colon = line.indexOf(':')
    const field = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (field === 'event') event = value
    else if (field === 'data') data.push(value)
  }
}

/** Ended by LF, CR or CRLF; a last one without an end is not a line. */
async function* lines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  let afterCr = false
  for await (const chunk of chunks) {
    let text = decoder.decode(chunk, {stream: true})
    if (text === '') continue
    if (afterCr && text[0] === '\n') text = text.slice(1)
    afterCr = text === '' ? false : text.endsWith('\r')
    const parts = (rest + text).split(/\r\n|\r|\n/)
    rest = parts.pop() as string
    yield* parts
  }
}
