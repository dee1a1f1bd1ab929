/** Following an operation to its end, through broken streams and agents that die and come back. */
import {setTimeout as sleep} from 'node:timers/promises'
import type {Readable} from 'node:stream'
import type {ApiOperation} from '../../core/api/schemas.js'
import {DbaasError} from '../../core/errors.js'
import {serverEvents} from './event-stream.js'

export interface FollowSource {
  /** Opens the stream of events. */
  events(): Promise<Readable>
  /** The operation as it is now. */
  read(): Promise<ApiOperation>
  /** A failure of the stream as ours. */
  translate(error: unknown): unknown
}

export interface FollowOptions {
  readonly signal: AbortSignal | undefined
  readonly patienceMs: number
}

/** The agent sends a comment every 15 s: three missed, and the other end is gone without a word. */
const quietMs = 45_000
const pollMs = 500
const firstPauseMs = 25
const longestPauseMs = 1000
/** Streams that end without an event: something in between does not pass them on. Then the state is polled. */
const barrenLimit = 3

const hasEnded = (operation: ApiOperation): boolean => operation.ended_at !== null

export async function followOperation(
  source: FollowSource,
  operationId: string,
  onChange: (operation: ApiOperation) => void,
  {signal, patienceMs}: FollowOptions,
): Promise<ApiOperation> {
  let last = ''
  let barren = 0
  let heardAt = Date.now()
  let pauseMs = firstPauseMs

  const hear = (operation: ApiOperation): void => {
    barren = 0
    heardAt = Date.now()
    pauseMs = firstPauseMs
    const text = JSON.stringify(operation)
    // A new stream begins with the present state, which may be known.
    if (text === last) return
    last = text
    onChange(operation)
  }

  for (;;) {
    signal?.throwIfAborted()
    try {
      if (barren < barrenLimit) {
        barren++
        for await (const operation of listen(source)) {
          hear(operation)
          if (hasEnded(operation)) return operation
        }
        heardAt = Date.now()
      } else {
        const operation = await source.read()
        const wasBarren = barren
        hear(operation)
        barren = wasBarren
        if (hasEnded(operation)) return operation
        pauseMs = pollMs
      }
    } catch (error) {
      signal?.throwIfAborted()
      if (!mayCome(error)) throw error
      if (Date.now() - heardAt > patienceMs) throw lost(error as DbaasError, operationId)
      // An agent that is away says nothing about whether streams get through.
      barren = Math.min(barren, barrenLimit - 1)
    }
    await sleep(pauseMs, undefined, signal ? {signal} : {})
    pauseMs = Math.min(pauseMs * 2, longestPauseMs)
  }
}

const mayCome = (error: unknown): boolean =>
  error instanceof DbaasError && (error.code === 'AGENT_UNREACHABLE' || error.row.retry === 'transient')

function lost(error: DbaasError, operationId: string): DbaasError {
  return new DbaasError(error.code, error.message, {
    cause: error,
    details: {...error.details, operation_id: operationId},
    suggestions: [...error.suggestions, `dbaas operations wait ${operationId}`],
  })
}

async function* listen(source: FollowSource): AsyncGenerator<ApiOperation> {
  const body = await source.events()
  let timer: NodeJS.Timeout | undefined
  const heard = (): void => {
    clearTimeout(timer)
    timer = setTimeout(() => body.destroy(new Error('the stream of events fell silent')), quietMs)
  }
  async function* chunks(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of body) {
        heard()
        yield chunk as Uint8Array
      }
    } catch (error) {
      throw source.translate(error)
    }
  }
  heard()
  try {
    for await (const {event, data} of serverEvents(chunks())) {
      if (event === 'operation') yield (JSON.parse(data) as {operation: ApiOperation}).operation
    }
  } finally {
    clearTimeout(timer)
    body.destroy()
  }
}
