/** https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_err_packet.html */
import type {EngineWire} from '../engine.js'

/** ER_SERVER_SHUTDOWN: clients take it for what passes. */
const serverShutdown = 1053

/** An ERR packet in place of the greeting, which has no SQLSTATE: nothing is agreed on yet. */
function errPacket(message: string): Buffer {
  const words = Buffer.from(message)
  const packet = Buffer.alloc(7 + words.length)
  packet.writeUIntLE(3 + words.length, 0, 3)
  packet.writeUInt8(0xff, 4)
  packet.writeUInt16LE(serverShutdown, 5)
  words.copy(packet, 7)
  return packet
}

/** Statements are ended by KILL, on a connection like any other. */
export const wire: EngineWire = {
  cancel: null,
  refusal: (message, hint) => ({when: 'at-once', base64: errPacket(`${message} (${hint})`).toString('base64')}),
}
