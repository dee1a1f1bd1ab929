/** A worker thread of the pool. */
import {readlinkSync} from 'node:fs'
import {setPriority} from 'node:os'
import {parentPort, workerData, type Transferable} from 'node:worker_threads'
import {DbaasError} from '../../../core/errors.js'
import {createPipeline} from './pipeline.js'
import type {FromThread, ToThread} from './pool.js'

/** Linux gives each thread a priority of its own: ours is behind that of the servers on the same machine. */
function beNice(level: number): void {
  try {
    setPriority(Number(readlinkSync('/proc/thread-self').split('/').at(-1)), level)
  } catch {
    // no such file: not Linux
  }
}

/** The memory below what is answered, which is handed over instead of copied. */
function buffersIn(value: unknown, found = new Set<ArrayBuffer>()): Set<ArrayBuffer> {
  if (ArrayBuffer.isView(value)) {
    // Small views may share memory with others (Node's pool of buffers): those are copied.
    const {buffer} = value
    if (buffer instanceof ArrayBuffer && buffer.byteLength > 64 * 1024) found.add(buffer)
  } else if (Array.isArray(value)) for (const item of value) buffersIn(item, found)
  else if (typeof value === 'object' && value !== null) for (const item of Object.values(value)) buffersIn(item, found)
  return found
}

const port = parentPort
if (port) {
  beNice((workerData as {nice: number}).nice)
  const pipeline = createPipeline()
  port.on('message', (message: ToThread) => {
    if ('room' in message) return pipeline.reuse(message.room)
    const {task, request} = message
    let answer: FromThread
    try {
      answer = {task, answer: pipeline.handle(request as never)}
    } catch (error) {
      answer = {task, error: DbaasError.from(error).toDetail()}
    }
    port.postMessage(answer, [...buffersIn(answer)] as Transferable[])
  })
}
