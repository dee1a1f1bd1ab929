/** https://www.postgresql.org/docs/current/protocol-message-formats.html */
import type {EngineWire} from '../engine.js'

/** cannot_connect_now: drivers try their next host, or the same one again. */
const cannotConnectNow = '57P03'

/**
 * An ErrorResponse, also as the answer to an SSLRequest: there libpq 17.2 and newer tell only that there was an error (it might be
 * forged), older ones the words.
 */
function errorResponse(message: string, hint: string): Buffer {
  const fields = Buffer.from(`${[['S', 'FATAL'], ['V', 'FATAL'], ['C', cannotConnectNow], ['M', message], ['H', hint]].map(([name, value]) => `${name}${value}\0`).join('')}\0`)
  const head = Buffer.alloc(5)
  head.write('E', 0)
  head.writeInt32BE(fields.length + 4, 1)
  return Buffer.concat([head, fields])
}

export const wire: EngineWire = {
  // CancelRequest: its length, then 80877102
  cancel: {offset: 4, hex: '04d2162e'},
  refusal: (message, hint) => ({when: 'when-spoken-to', base64: errorResponse(message, hint).toString('base64')}),
}
