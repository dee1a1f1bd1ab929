/** Answers without a known end, log text and server-sent events: written as they come, no faster than they are read. */
import {once} from 'node:events'
import type {ServerResponse} from 'node:http'
import type {ApiOperation} from '../../core/api/schemas.js'

/** Proxies and clients give up on a silent stream after 30 to 60 s. */
const heartbeatMs = 15_000

export interface StreamOptions {
  readonly signal: AbortSignal
  /** Headers that every response has. */
  readonly headers: Readonly<Record<string, string>>
}

/** Lines of a log. A source that fails cuts the connection: an early end would look like the end. */
export async function sendText(
  response: ServerResponse,
  lines: AsyncIterable<string>,
  {signal, headers}: StreamOptions,
): Promise<void> {
  response.writeHead(200, {...headers, 'content-type': 'text/plain; charset=utf-8'})
  response.flushHeaders()
  await sendAll(response, lines, (line) => `${line}\n`, signal)
}

/** `event: operation`, `data: {"operation": …}`; a comment each 15 s; ends with the operation. */
export async function sendEvents(
  response: ServerResponse,
  changes: AsyncIterable<ApiOperation>,
  {signal, headers, heartbeat = heartbeatMs}: StreamOptions & {readonly heartbeat?: number},
): Promise<void> {
  response.writeHead(200, {...headers, 'content-type': 'text/event-stream; charset=utf-8'})
  response.flushHeaders()
  const timer = setInterval(() => response.write(': the operation goes on\n\n'), heartbeat)
  try {
    await sendAll(
      response,
      changes,
      (operation) => `event: operation\ndata: ${JSON.stringify({operation})}\n\n`,
      signal,
    )
  } finally {
    clearInterval(timer)
  }
}

async function sendAll<T>(
  response: ServerResponse,
  source: AsyncIterable<T>,
  format: (item: T) => string,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const item of source) {
      if (signal.aborted) break
      if (!response.write(format(item))) await once(response, 'drain', {signal})
    }
    response.end()
  } catch (error) {
    if (signal.aborted) response.end()
    else {
      response.destroy()
      throw error
    }
  }
}
