/** Base backups: what the receiving thread sends, as files for a sink. */
import {createRequire} from 'node:module'
import {pathToFileURL} from 'node:url'
import {Worker} from 'node:worker_threads'
import {DbaasError} from '../../../core/errors.js'
import type {BackupFile, BackupServer, BaseBackup, BaseBackupRequest, BaseBackupSink, EngineBaseBackup} from '../../backup.js'
import type {ReceiveOrder, ReceiverEvent, ToReceiver} from './events.js'
import {manifestPath} from './manifest.js'
import {pageBytes} from './page-checksum.js'

/** How often the rate is looked up. */
const limitMs = 100

export const baseBackup: EngineBaseBackup = {
  async take(server, request, sink, signal) {
    signal.throwIfAborted()
    const receiver = startReceiver(await orderOf(server, request), (received, total) => sink.progress(received, total))
    const stop = () => receiver.stop(signal.reason as Error)
    signal.addEventListener('abort', stop)
    let rate = request.limit.bytesPerSecond()
    const timer = setInterval(() => {
      const next = request.limit.bytesPerSecond()
      if (next !== rate) receiver.send({kind: 'limit', bytesPerSecond: (rate = next)})
    }, limitMs)
    try {
      return await pass(receiver, sink)
    } catch (error) {
      signal.throwIfAborted()
      throw error
    } finally {
      clearInterval(timer)
      signal.removeEventListener('abort', stop)
      await receiver.close()
    }
  },
}

async function orderOf(server: BackupServer, {label, pace, limit, previous}: BaseBackupRequest): Promise<ReceiveOrder> {
  const manifest: Uint8Array[] = []
  if (previous) for await (const bytes of previous.read(manifestPath)) manifest.push(Buffer.from(bytes))
  return {
    server, label, pace, bytesPerSecond: limit.bytesPerSecond(),
    previous: previous && {system: previous.backup.system, end: previous.backup.end, manifest: Buffer.concat(manifest)},
  }
}

/** Events become files, one after the other. */
async function pass(receiver: ReceiverThread, sink: BaseBackupSink): Promise<BaseBackup> {
  for (;;) {
    const event = await receiver.next()
    if (event.kind === 'done') return event.backup
    if (event.kind === 'method') await sink.begin(event.method)
    else if (event.kind === 'file') {
      const {path, mode, size} = event
      await give({path, pageSize: pageBytes, attributes: {mode}, content: {kind: 'whole', size, bytes: portions(receiver)}}, sink)
    } else if (event.kind === 'changes') {
      const {path, mode, length, blocks, zeros} = event
      await give({path, pageSize: pageBytes, attributes: {mode}, content: {kind: 'changed', length, pages: pages(receiver, blocks, zeros)}}, sink)
    } else throw new DbaasError('INTERNAL', `the receiver of a base backup says ${event.kind} out of turn`)
  }
}

/** What the sink did not read is read past. */
async function give(file: BackupFile, sink: BaseBackupSink): Promise<void> {
  const rest = file.content.kind === 'whole' ? file.content.bytes : file.content.pages
  const source = rest[Symbol.asyncIterator]() as AsyncIterator<unknown>
  const once = {[Symbol.asyncIterator]: () => ({next: () => source.next()})} as AsyncIterable<never>
  await sink.write({...file, content: file.content.kind === 'whole' ? {...file.content, bytes: once} : {...file.content, pages: once}})
  while ((await source.next()).done !== true);
}

async function* portions(receiver: ReceiverThread): AsyncGenerator<Uint8Array, void> {
  for (;;) {
    const event = await receiver.next()
    if (event.kind !== 'bytes') return
    yield new Uint8Array(event.room, 0, event.length)
    receiver.send({kind: 'room', room: event.room}, event.room)
  }
}

const emptyPage = new Uint8Array(pageBytes)

/** The blocks that come and those that are zeros, in one order. */
async function* pages(receiver: ReceiverThread, blocks: Uint32Array, zeros: readonly number[]): AsyncGenerator<{page: number; bytes: Uint8Array}, void> {
  let zero = 0
  function* zerosBelow(block: number): Generator<{page: number; bytes: Uint8Array}> {
    while (zero < zeros.length && (zeros[zero] as number) < block) yield {page: zeros[zero++] as number, bytes: emptyPage}
  }
  let block = 0
  for await (const bytes of portions(receiver)) {
    for (let at = 0; at < bytes.length; at += pageBytes) {
      const page = blocks[block++] as number
      yield* zerosBelow(page)
      yield {page, bytes: bytes.subarray(at, at + pageBytes)}
    }
  }
  yield* zerosBelow(Number.POSITIVE_INFINITY)
}

interface ReceiverThread {
  /** In order; progress reports are passed on, and are none. Throws what the receiver failed with. */
  next(): Promise<ReceiverEvent>
  send(message: ToReceiver, transfer?: ArrayBuffer): void
  /** What waits, fails with the reason at once; the server is told. */
  stop(because: Error): void
  close(): Promise<void>
}

/** How long the thread may take to say farewell to the server. */
const farewellMs = 3000

function startReceiver(order: ReceiveOrder, progress: (received: number, total: number) => void): ReceiverThread {
  const worker = startThread(order)
  const events: ReceiverEvent[] = []
  let waiting: {resolve(event: ReceiverEvent): void; reject(error: Error): void} | undefined
  let failure: Error | undefined
  let finished = false
  const fail = (error: Error): void => {
    failure ??= error
    waiting?.reject(failure)
    waiting = undefined
  }
  worker.on('message', (event: ReceiverEvent) => {
    if (event.kind === 'progress') return progress(event.received, event.total)
    if (event.kind === 'failed') return fail(DbaasError.fromDetail(event.error))
    if (waiting) waiting.resolve(event)
    else events.push(event)
    waiting = undefined
    return undefined
  })
  worker.on('error', fail)
  const exited = new Promise<void>((resolve) => {
    worker.on('exit', (code) => {
      finished = true
      fail(new DbaasError('INTERNAL', `the thread of a base backup ended (${code})`))
      resolve()
    })
  })
  return {
    next: () =>
      new Promise((resolve, reject) => {
        const event = events.shift()
        if (event) resolve(event)
        else if (failure) reject(failure)
        else waiting = {resolve, reject}
      }),
    send: (message, transfer) => worker.postMessage(message, transfer === undefined ? [] : [transfer]),
    stop(because) {
      fail(because)
      events.length = 0
      worker.postMessage({kind: 'stop'} satisfies ToReceiver)
    },
    async close() {
      if (finished) return
      worker.postMessage({kind: 'stop'} satisfies ToReceiver)
      const timer = setTimeout(() => void worker.terminate(), farewellMs)
      await exited
      clearTimeout(timer)
    },
  }
}

/** The built agent has the thread's bundle beside it; from source, tsx translates it, as it did us. */
function startThread(workerData: ReceiveOrder): Worker {
  if (!import.meta.url.endsWith('.ts')) return new Worker(new URL('./base-backup-thread.js', import.meta.url), {workerData})
  const tsx = new URL('dist/esm/api/index.mjs', pathToFileURL(createRequire(import.meta.url).resolve('tsx/package.json'))).href
  const source = new URL('./receive-thread.ts', import.meta.url).href
  return new Worker(`import(${JSON.stringify(tsx)}).then((tsx) => {tsx.register(); return import(${JSON.stringify(source)})})`, {eval: true, workerData})
}
