import {setTimeout as sleep} from 'node:timers/promises'
import type {Client} from '../../agent/client/client.js'
import {DbaasError} from '../../core/errors.js'

const limitMs = 30_000

/**
 * Returns when the agent of that process id answers no more: a start right after a stop must not meet the old one.
 * Throws WAIT_TIMED_OUT after 30 s.
 */
export async function untilGone(client: Client, pid: number): Promise<void> {
  const deadline = Date.now() + limitMs
  while (Date.now() < deadline) {
    const answers = await client.call('agent.get', {}).then(
      ({agent}) => agent.pid === pid,
      // While it shuts down it refuses; only silence means that it is gone.
      (error: unknown) => !(error instanceof DbaasError && error.code === 'AGENT_UNREACHABLE'),
    )
    if (!answers) return
    await sleep(25)
  }
  throw new DbaasError('WAIT_TIMED_OUT', `the agent (pid ${pid}) has not ended after ${limitMs / 1000} s`, {
    details: {pid: String(pid)},
    suggestions: ['dbaas agent logs', 'dbaas agent status'],
  })
}
