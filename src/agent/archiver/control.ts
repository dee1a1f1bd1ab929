/** The agent's side of the archiver thread. */
import {createRequire} from 'node:module'
import {pathToFileURL} from 'node:url'
import {Worker} from 'node:worker_threads'
import {DbaasError} from '../../core/errors.js'
import type {LogStatus} from '../../engines/backup.js'
import type {Archiver} from './archiver.js'
import type {Answer, CallName, Calls, FromThread, ThreadData, ToThread} from './protocol.js'

/** How often a changed rate is passed on. */
const limitMs = 100
/** What is under way has so long to end in order. */
const farewellMs = 5000
const terminateMs = 2000

interface Waiting {
  readonly resolve: (answer: never) => void
  readonly reject: (error: Error) => void
  readonly event: (event: never) => void
}

export function createArchiver(data: ThreadData): Archiver {
  let worker: Worker | undefined
  let closing = false
  let last = 0
  const waiting = new Map<number, Waiting>()

  function thread(): Worker {
    if (worker) return worker
    const started = startThread(data)
    const ended = (error: Error): void => {
      if (worker !== started) return
      worker = undefined
      for (const one of waiting.values()) one.reject(error)
      waiting.clear()
    }
    started.on('error', ended)
    started.on('exit', (code) => ended(new DbaasError('INTERNAL', `the archiver thread ended (${code})`)))
    started.on('message', (message: FromThread) => {
      const one = waiting.get(message.id)
      if (message.kind === 'event') return one?.event(message.event as never)
      waiting.delete(message.id)
      if (message.kind === 'failed') one?.reject(DbaasError.fromDetail(message.error))
      else one?.resolve(message.answer as never)
      return undefined
    })
    // the agent ends when it wants to, not when its thread does
    started.unref()
    worker = started
    return started
  }

  function call<Name extends CallName>(name: Name, args: Calls[Name], options: {signal?: AbortSignal; event?: (event: never) => void; begun?: (send: (message: ToThread) => void, id: number) => () => void} = {}): Promise<Answer<Name>> {
    if (closing) return Promise.reject(new DbaasError('AGENT_STOPPING', 'the agent is shutting down'))
    const {signal} = options
    if (signal?.aborted) return Promise.reject(reasonOf(signal))
    const id = ++last
    const to = thread()
    const send = (message: ToThread): void => to.postMessage(message)
    let timer: NodeJS.Timeout | undefined
    const stop = (): void => {
      send({kind: 'stop', id, because: String((signal?.reason as Error | undefined)?.message ?? signal?.reason)})
      // a disk or a program that hangs holds the thread's call up, and must not hold up who asked for its end
      timer = setTimeout(() => {
        waiting.get(id)?.reject(reasonOf(signal as AbortSignal))
        waiting.delete(id)
      }, farewellMs)
    }
    signal?.addEventListener('abort', stop)
    const answer = new Promise<Answer<Name>>((resolve, reject) => {
      waiting.set(id, {resolve: resolve as Waiting['resolve'], reject, event: options.event ?? (() => undefined)})
      send({kind: 'call', id, name, args})
    })
    const end = options.begun?.(send, id)
    return answer
      .catch((error: unknown) => {
        if (signal?.aborted) throw reasonOf(signal)
        throw error
      })
      .finally(() => {
        signal?.removeEventListener('abort', stop)
        clearTimeout(timer)
        end?.()
      })
  }

  return {
    describe: (...args) => call('describe', args),
    prepare: (...args) => call('prepare', args),
    beginCopy: (...args) => call('beginCopy', args),
    copy: (...args) => call('copy', args),
    promote: (...args) => call('promote', args),
    incarnations: (...args) => call('incarnations', args),
    list: (...args) => call('list', args),
    find: (...args) => call('find', args),
    remove: (...args) => call('remove', args),
    collect: (...args) => call('collect', args),
    logEnd: (...args) => call('logEnd', args),
    checkLog: (...args) => call('checkLog', args),
    shred: (...args) => call('shred', args),
    erase: (...args) => call('erase', args),
    plan: (...args) => call('plan', args),
    missing: (...args) => call('missing', args),
    logSegment: (...args) => call('logSegment', args),
    logHistory: (...args) => call('logHistory', args),
    restore: (order, {progress, signal}) => call('restore', [order], {
      signal, event: ({bytes, total}: {bytes: number; total: number}) => progress(bytes, total),
    }),
    rewrap: (...args) => call('rewrap', args),
    verify: (archive, snapshot, signal) => call('verify', [archive, snapshot], signal ? {signal} : {}),
    take: (order, {progress, limit, signal}) => call('take', [order, limit()], {
      signal,
      event: ({received, total}: {received: number; total: number}) => progress(received, total),
      begun(send, id) {
        let rate = limit()
        const timer = setInterval(() => {
          const next = limit()
          if (next !== rate) send({kind: 'limit', id, bytesPerSecond: (rate = next)})
        }, limitMs)
        return () => clearInterval(timer)
      },
    }),
    // its end by the signal is an answer, not an error
    follow: (order, {status, signal}) => call('follow', [order], {signal, event: (event: LogStatus) => status(event)}).catch((error: unknown) => {
      if (signal.aborted) return {kind: 'asked'} as const
      throw error
    }),
    endPrograms: () => void worker?.postMessage({kind: 'end-programs'} satisfies ToThread),
    async close() {
      closing = true
      const ending = worker
      if (!ending) return
      for (const id of waiting.keys()) ending.postMessage({kind: 'stop', id, because: 'the agent is shutting down'} satisfies ToThread)
      for (const until = performance.now() + farewellMs; waiting.size > 0 && performance.now() < until; ) await new Promise((resolve) => setTimeout(resolve, 10))
      for (const one of waiting.values()) one.reject(new DbaasError('AGENT_STOPPING', 'the agent is shutting down'))
      waiting.clear()
      // a thread in a call that the system does not come back from does not end
      await Promise.race([ending.terminate(), new Promise((resolve) => setTimeout(resolve, terminateMs))])
    },
  }
}

const reasonOf = (signal: AbortSignal): Error =>
  signal.reason instanceof Error ? signal.reason : new DbaasError('OPERATION_CANCELLED', `it was stopped: ${String(signal.reason)}`)

/** The built agent has the thread's bundle beside it; from source, tsx translates it, as it did us. */
function startThread(workerData: ThreadData): Worker {
  if (!import.meta.url.endsWith('.ts')) return new Worker(new URL('./archiver-thread.js', import.meta.url), {workerData})
  const tsx = new URL('dist/esm/api/index.mjs', pathToFileURL(createRequire(import.meta.url).resolve('tsx/package.json'))).href
  const source = new URL('./thread.ts', import.meta.url).href
  return new Worker(`import(${JSON.stringify(tsx)}).then((tsx) => {tsx.register(); return import(${JSON.stringify(source)})})`, {eval: true, workerData})
}
