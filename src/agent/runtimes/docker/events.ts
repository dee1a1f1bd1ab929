/**
 * The engine's event stream, one for the runtime: opened when somebody listens and the engine is in use, opened again
 * when it breaks. It is a hint, not the truth: whoever listens looks at what is, also after each time it was open anew.
 */
import type {Readable} from 'node:stream'
import {setTimeout as sleep} from 'node:timers/promises'
import type {Client} from './client.js'

export interface EngineEvent {
  readonly type: 'container' | 'network' | 'volume'
  readonly action: string
  /** Of a container or network its id, of a volume its name. */
  readonly id: string
  /** Of a container, its labels are among them. */
  readonly attributes: Readonly<Record<string, string>>
}

export interface EventListener {
  event(event: EngineEvent): void
  /** The stream is open, and has not been before this moment. */
  opened(): void
  /** It was open and is not any more: the engine may be gone. */
  lost(): void
}

const actions = ['die', 'oom', 'pause', 'unpause', 'destroy', 'disconnect']
const shortestBackoffMs = 100
const longestBackoffMs = 5000
/** The engine sends the answer's head a moment before it listens; what it has seen of late it tells again. */
const replaySeconds = 3

export function createEvents(client: Client, log: (message: string, facts?: Record<string, unknown>) => void) {
  const listeners = new Set<EventListener>()
  let running = false
  let closed = false
  let stream: Readable | undefined

  async function listen(): Promise<void> {
    let backoffMs = shortestBackoffMs
    while (!closed && listeners.size > 0) {
      try {
        stream = await open()
        backoffMs = shortestBackoffMs
        for (const listener of [...listeners]) listener.opened()
        await read(stream)
      } catch (error) {
        if (closed) break
        log('the events of Docker cannot be read', {error: error instanceof Error ? error.message : String(error), retry_ms: backoffMs})
      }
      if (closed || listeners.size === 0) break
      if (stream) for (const listener of [...listeners]) listener.lost()
      stream = undefined
      await sleep(backoffMs, undefined, {ref: false})
      backoffMs = Math.min(backoffMs * 2, longestBackoffMs)
    }
    running = false
  }

  const open = (): Promise<Readable> => client.call('listen to Docker', async (docker, abortSignal) =>
    await docker.getEvents({
      since: Math.floor(Date.now() / 1000) - replaySeconds, filters: {type: ['container', 'network', 'volume'], event: actions}, abortSignal,
    } as object) as unknown as Readable)

  async function read(from: Readable): Promise<void> {
    let rest = ''
    for await (const chunk of from) {
      const lines = (rest + String(chunk)).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) if (line !== '') tell(line)
    }
  }

  function tell(line: string): void {
    const {Type, Action, Actor} = JSON.parse(line) as {Type: EngineEvent['type']; Action: string; Actor?: {ID?: string; Attributes?: Record<string, string>}}
    const event = {type: Type, action: Action, id: Actor?.ID ?? '', attributes: Actor?.Attributes ?? {}}
    for (const listener of [...listeners]) listener.event(event)
  }

  return {
    /** Returns the way to stop. */
    subscribe(listener: EventListener): () => void {
      listeners.add(listener)
      client.whenUsed(() => {
        if (running || closed || listeners.size === 0) return
        running = true
        void listen()
      })
      return () => {
        listeners.delete(listener)
        if (listeners.size === 0) stream?.destroy()
      }
    },
    close(): void {
      closed = true
      listeners.clear()
      stream?.destroy()
    },
  }
}

export type Events = ReturnType<typeof createEvents>
