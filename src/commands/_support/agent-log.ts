import {open} from 'node:fs/promises'
import type {Client} from '../../agent/client/client.js'
import {agentLogFile} from '../../agent/client/home.js'
import type {Location} from '../../agent/client/locate.js'
import {DbaasError} from '../../core/errors.js'

/** Bytes read from the end of the file: more than any sane number of lines needs. */
const tailBytes = 4 * 1024 * 1024

/** From the agent; from its file when it does not answer and its home is here. Throws AGENT_UNREACHABLE when neither is. */
export async function* agentLog(client: Client, location: Location, lines: number): AsyncIterable<string> {
  try {
    yield* client.stream('agent.logs', {query: {lines}})
  } catch (error) {
    if (!(error instanceof DbaasError) || error.code !== 'AGENT_UNREACHABLE' || !location.local) throw error
    const file = await open(agentLogFile(location.home)).catch(() => undefined)
    if (file === undefined) throw error
    try {
      const {size} = await file.stat()
      const length = Math.min(size, tailBytes)
      const {buffer} = await file.read(Buffer.alloc(length), 0, length, size - length)
      yield buffer.toString('utf8').trimEnd().split('\n').slice(-lines).join('\n')
    } finally {
      await file.close()
    }
  }
}
