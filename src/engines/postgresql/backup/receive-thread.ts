/** The thread of a base backup: TLS, protocol, archives and checksums take a whole core at full speed. */
import {readlinkSync} from 'node:fs'
import {setPriority} from 'node:os'
import {parentPort, workerData} from 'node:worker_threads'
import {DbaasError} from '../../../core/errors.js'
import type {ReceiveOrder, ReceiverEvent, ToReceiver} from './events.js'
import {receive} from './receive.js'

/** Linux gives each thread a priority of its own: ours is behind that of the servers on the same machine. */
function beNice(): void {
  try {
    setPriority(Number(readlinkSync('/proc/thread-self').split('/').at(-1)), 10)
  } catch {
    // no such file: not Linux
  }
}

const port = parentPort
if (port) {
  beNice()
  const receiver = receive(workerData as ReceiveOrder, (event, transfer) => port.postMessage(event, transfer === undefined ? [] : [transfer]))
  port.on('message', (message: ToReceiver) => {
    if (message.kind === 'room') receiver.room(message.room)
    else if (message.kind === 'limit') receiver.limit(message.bytesPerSecond)
    else receiver.stop()
  })
  receiver.ended
    .catch((error: unknown) => port.postMessage({kind: 'failed', error: DbaasError.from(error).toDetail()} satisfies ReceiverEvent))
    .finally(() => port.close())
}
