/**
 * The server's log: what its container has written, both streams as one, in whole lines. Docker keeps it with the
 * container and bounds it. Every frame begins with its time, by which a reader goes on after the server was started anew.
 */
import type {Readable} from 'node:stream'
import {setTimeout as sleep} from 'node:timers/promises'
import type Docker from 'dockerode'
import type {LogOptions} from '../runtime.js'
import type {Client} from './client.js'
import {createFrameReader, type Frame} from './frames.js'

const againMs = 300

/** `find` gives the id of the container there is now; `exists` whether the place is still there. */
export async function* readLog(
  client: Client, options: LogOptions, find: () => Promise<string | undefined>, exists: () => Promise<boolean>,
): AsyncGenerator<string> {
  const {follow, signal, lines} = options
  let tail: number | undefined = lines
  let last = ''
  while (!signal.aborted) {
    const id = await find()
    if (id !== undefined && !(tail === 0 && !follow)) {
      const since = last
      for await (const {at, line} of linesOf(client, id, {follow, signal, tail, since})) {
        if (signal.aborted) return
        // given by the answer before
        if (since !== '' && at <= since) continue
        yield line
        last = at
      }
    }
    if (!follow) return
    tail = undefined
    // it has ended: the next one may start, in the same container or another
    await sleep(againMs, undefined, {signal}).catch(() => undefined)
    if (!signal.aborted && !(await exists())) return
  }
}

interface Line {
  /** As Docker writes it: RFC 3339 with nine digits, so that texts compare as times do. */
  readonly at: string
  readonly line: string
}

async function* linesOf(
  client: Client, id: string, how: {follow: boolean; signal: AbortSignal; tail: number | undefined; since: string},
): AsyncGenerator<Line> {
  const {follow, signal, tail, since} = how
  const range = {stdout: true, stderr: true, timestamps: true, ...(tail === undefined ? {} : {tail}), ...(since === '' ? {} : {since: seconds(since)})}
  const read = createFrameReader()
  const join = createLines()
  if (!follow) {
    const answer = await client.find('read a log', (docker, abortSignal) =>
      docker.getContainer(id).logs({...range, follow: false, abortSignal} as Docker.ContainerLogsOptions & {follow: false}), {signal})
    if (answer) yield* join(read(answer))
    yield* join.rest()
    return
  }
  const stream = await client.find('read a log', async (docker, abortSignal) =>
    await docker.getContainer(id).logs({...range, follow: true, abortSignal} as Docker.ContainerLogsOptions & {follow: true}) as unknown as Readable)
  if (!stream) return
  const stop = (): void => void stream.destroy()
  signal.addEventListener('abort', stop, {once: true})
  try {
    for await (const piece of stream) yield* join(read(piece as Buffer))
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    signal.removeEventListener('abort', stop)
    stream.destroy()
  }
}

/** Of the fraction Docker takes nine digits. */
const seconds = (at: string): string => `${Math.floor(Date.parse(at) / 1000)}.${/\.(\d+)/.exec(at)?.[1] ?? '0'}`

/** A line is one frame, or several when it is long (16 KiB); each frame has its own time before it. */
function createLines() {
  const open = new Map<Frame['stream'], {at: string; parts: Buffer[]}>()

  function* take(frames: readonly Frame[]): Generator<Line> {
    for (const {stream, content} of frames) {
      const space = content.indexOf(' ')
      const at = content.subarray(0, space).toString('latin1')
      const text = content.subarray(space + 1)
      const line = open.get(stream) ?? {at, parts: []}
      const whole = text.at(-1) === 0x0a
      line.parts.push(whole ? text.subarray(0, -1) : text)
      if (!whole) {
        open.set(stream, line)
        continue
      }
      open.delete(stream)
      yield made({at, parts: line.parts})
    }
  }

  const made = ({at, parts}: {at: string; parts: Buffer[]}): Line => ({at, line: Buffer.concat(parts).toString('utf8').replace(/\r$/, '')})

  return Object.assign(take, {
    *rest(): Generator<Line> {
      for (const line of open.values()) yield made(line)
    },
  })
}
