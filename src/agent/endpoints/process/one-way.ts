import {connect} from 'node:net'
import type {Address} from './session.js'

const deliveryMs = 2000

/** Says something to a server that does not answer, and that nobody waits for. */
export function deliver(bytes: Buffer, to: Address): void {
  const socket = connect({...to, noDelay: true})
  socket.setTimeout(deliveryMs, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.resume().end(bytes)
}
