/**
 * Worker threads that hash, compress and encrypt, so that the agent's own thread stays free. A thread has at most two
 * tasks, the one it works on and the next: who asks for more waits, and so does what feeds him. Memory: see docs/repository-format.md.
 */
import {createRequire} from 'node:module'
import {pathToFileURL} from 'node:url'
import {Worker, type Transferable} from 'node:worker_threads'
import {DbaasError, type ErrorDetail} from '../../../core/errors.js'
import {createPipeline, type Pipeline} from './pipeline.js'
import type {Answers, Kind, Request, Requests} from './tasks.js'

export type ToThread = {readonly task: number; readonly request: Request} | {readonly room: ArrayBuffer}
export type FromThread = {readonly task: number; readonly answer: Answers[Kind]} | {readonly task: number; readonly error: ErrorDetail}

export interface Pool {
  /** Threads; 1 when it works in place. */
  readonly size: number
  /**
   * Runs the task on the thread that has the least to do; what is stored, on the first that has room: what is small stays on one
   * thread, and in one pack. `transfer`: memory that is handed over and no more the caller's. */
  run<K extends Kind>(request: Requests[K] & {kind: K}, transfer?: readonly ArrayBufferLike[]): Promise<{thread: number; answer: Answers[K]}>
  /** Runs the task on every thread. */
  all<K extends Kind>(request: Requests[K] & {kind: K}): Promise<{thread: number; answer: Answers[K]}[]>
  /** Gives the memory of a written pack back to the thread that built it. */
  reuse(thread: number, room: ArrayBufferLike): void
  close(): Promise<void>
}

interface Waiting {
  readonly resolve: (answer: Answers[Kind]) => void
  readonly reject: (error: Error) => void
}

interface Thread {
  worker: Worker | undefined
  readonly tasks: Map<number, Waiting>
}

const queueLength = 2

/** The memory of those that have it for themselves: it can be handed over to a thread. The others are copied. */
export function ownMemory(views: readonly Uint8Array[]): ArrayBufferLike[] {
  const whole = views.filter(({length, buffer}) => length > 0 && length === buffer.byteLength)
  return [...new Set(whole.map(({buffer}) => buffer))]
}

/**
 * The threads start at the first need. `nice` is their priority on Linux (19 is the last). A thread that dies fails
 * its tasks and the sessions that it had a part in; the next task starts another.
 */
export function createPool(size: number, nice = 10): Pool {
  const threads: Thread[] = Array.from({length: size}, () => ({worker: undefined, tasks: new Map()}))
  const free: (() => void)[] = []
  let next = 0

  function workerOf(thread: Thread): Worker {
    if (thread.worker) return thread.worker
    const worker = startWorker(nice)
    const ended = (error: Error) => {
      if (thread.worker !== worker) return
      thread.worker = undefined
      const waiting = [...thread.tasks.values()]
      thread.tasks.clear()
      for (const task of waiting) task.reject(error)
      for (const wake of free.splice(0)) wake()
    }
    worker.on('error', ended)
    worker.on('exit', (code) => ended(new DbaasError('INTERNAL', `a worker thread ended (${code})`)))
    worker.on('message', (message: FromThread) => {
      const task = thread.tasks.get(message.task)
      thread.tasks.delete(message.task)
      if (thread.tasks.size === 0) worker.unref()
      free.shift()?.()
      if ('error' in message) task?.reject(DbaasError.fromDetail(message.error))
      else task?.resolve(message.answer)
    })
    thread.worker = worker
    return worker
  }

  function post(thread: Thread, request: Request, transfer: readonly ArrayBufferLike[]): Promise<Answers[Kind]> {
    return new Promise((resolve, reject) => {
      const worker = workerOf(thread)
      const task = ++next
      thread.tasks.set(task, {resolve, reject})
      worker.ref()
      try {
        worker.postMessage({task, request} satisfies ToThread, transfer as Transferable[])
      } catch (error) {
        // what cannot be cloned or handed over: it would count as under way for ever
        thread.tasks.delete(task)
        throw error
      }
    })
  }

  /** -1 when all are full. */
  function leastBusy(): number {
    const least = Math.min(...threads.map(({tasks}) => tasks.size))
    return least < queueLength ? threads.findIndex(({tasks}) => tasks.size === least) : -1
  }

  return {
    size,
    async run<K extends Kind>(request: Requests[K] & {kind: K}, transfer: readonly ArrayBufferLike[] = []) {
      for (;;) {
        const at = request.kind === 'store' ? threads.findIndex(({tasks}) => tasks.size < queueLength) : leastBusy()
        if (at !== -1) return {thread: at, answer: (await post(threads[at] as Thread, request as Request, transfer)) as Answers[K]}
        await new Promise<void>((resolve) => free.push(resolve))
      }
    },
    all: <K extends Kind>(request: Requests[K] & {kind: K}) =>
      Promise.all(threads.map(async (thread, at) => ({thread: at, answer: (await post(thread, request as Request, [])) as Answers[K]}))),
    reuse(thread, room) {
      threads[thread]?.worker?.postMessage({room: room as ArrayBuffer} satisfies ToThread, [room as ArrayBuffer])
    },
    async close() {
      await Promise.all(threads.map((thread) => thread.worker?.terminate()))
    },
  }
}

/** The built agent has the worker's bundle beside it; from source, tsx translates it, as it did us. */
function startWorker(nice: number): Worker {
  const workerData = {nice}
  if (!import.meta.url.endsWith('.ts')) return new Worker(new URL('./backup-worker.js', import.meta.url), {workerData})
  const tsx = new URL('dist/esm/api/index.mjs', pathToFileURL(createRequire(import.meta.url).resolve('tsx/package.json'))).href
  const source = new URL('./worker.ts', import.meta.url).href
  return new Worker(`import(${JSON.stringify(tsx)}).then((tsx) => {tsx.register(); return import(${JSON.stringify(source)})})`, {eval: true, workerData})
}

/** Works in the caller's thread: for what is small. */
export function createInlinePool(): Pool {
  const pipeline: Pipeline = createPipeline()
  const run = async <K extends Kind>(request: Requests[K] & {kind: K}) => ({thread: 0, answer: pipeline.handle(request as never) as Answers[K]})
  return {size: 1, run, all: async <K extends Kind>(request: Requests[K] & {kind: K}) => [await run<K>(request)], reuse: (_, room) => pipeline.reuse(room as ArrayBuffer), close: async () => undefined}
}
