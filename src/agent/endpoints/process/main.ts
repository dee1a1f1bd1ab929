/**
 * Entry of the endpoint process, built into one self-contained file. Who starts it (the agent, or the process it is to
 * replace) sends one `boot` message over IPC and hears whether it serves.
 */
import type {Boot} from '../protocol.js'
import {EndpointProcess} from './endpoint-process.js'
import {answer} from './succession.js'

const bootMs = 10_000

process.umask(0o077)
process.title = 'dbaas endpoint'
// Lines of the log, which is all that is left of a process without a terminal, tell when.
console.error = (line: string) => process.stderr.write(`${new Date().toISOString()} [${process.pid}] ${line}\n`)

const orphaned = () => process.exit(1)
const unborn = setTimeout(orphaned, bootMs)
process.once('disconnect', orphaned)

process.once('message', (boot: Boot) => {
  clearTimeout(unborn)
  process.off('disconnect', orphaned)
  process.title = `dbaas endpoint ${boot.siteId}`
  // Without a listener of our own an idle channel would be closed under the one who still sends.
  process.on('message', () => {})
  void run(boot)
})

async function run(boot: Boot): Promise<void> {
  try {
    const endpoint = await EndpointProcess.start(boot)
    if (!endpoint) {
      answer({type: 'lost'})
      return leave(0)
    }
    process.on('SIGHUP', () => {})
    process.on('SIGTERM', () => void endpoint.end())
    process.on('SIGINT', () => void endpoint.end())
  } catch (error) {
    console.error(`cannot start: ${(error as Error).stack}`)
    answer({type: 'failed', message: (error as Error).message})
    leave(1)
  }
}

/** After the answer had its chance to leave. */
function leave(code: number): void {
  process.exitCode = code
  setTimeout(() => process.exit(code), 100)
}
