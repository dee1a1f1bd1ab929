import {Socket, connect} from 'node:net'

/**
 * Takes what a socket read and says whether to go on; false pauses the socket until `resume()`. The bytes are the
 * taker's own.
 */
export type Sink = (bytes: Buffer) => boolean

/**
 * One read buffer for every socket of the process. libuv reads, and the sink is called, before any other socket can
 * read, so the bytes only have to be copied out: for the small messages of a database protocol that costs far less
 * than the 64 KiB that Node allocates and shrinks for each 'data' event, and idle sessions own no buffer at all.
 */
const shared = Buffer.allocUnsafeSlow(64 * 1024)

const reader = (sink: Sink) => ({
  buffer: shared,
  callback: (size: number, buffer: Uint8Array): boolean => sink(Buffer.from(buffer.subarray(0, size))),
})

const socketOptions = {allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000}

export function connectReading(address: {host: string; port: number}, sink: Sink): Socket {
  return connect({...address, ...socketOptions, onread: reader(sink)})
}

/** Options that a server must have for `readAccepted`. */
export const acceptOptions = {...socketOptions, pauseOnConnect: true}

/**
 * Node offers `onread` for sockets that connect, not for accepted ones. The constructor takes it together with a handle
 * (as Node's own TLS and cluster modules use it), so the handle moves into a new socket. Where a future Node has no
 * such handle the accepted socket is read by events: slower, and right.
 */
export function readAccepted(accepted: Socket, sink: Sink): Socket {
  const inner = accepted as unknown as {_handle: {useUserBuffer?: unknown} | null}
  const handle = inner._handle
  if (typeof handle?.useUserBuffer !== 'function') {
    accepted.on('data', (bytes: Buffer) => {
      if (!sink(bytes)) accepted.pause()
    })
    accepted.resume()
    return accepted
  }
  inner._handle = null
  return new Socket({handle, allowHalfOpen: true, onread: reader(sink)} as ConstructorParameters<typeof Socket>[0])
}
