import {readFileSync} from 'node:fs'
import {setTimeout as sleep} from 'node:timers/promises'
import type {Client} from '../../agent/client/client.js'
import {DbaasError} from '../../core/errors.js'

const limitMs = 30_000

/** A zombie has ended, too: who should reap it may take seconds, where process 1 is no real init (containers). */
function lives(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch (error) {
    const {code, syscall} = error as NodeJS.ErrnoException
    // where there is no /proc, the signal that went through is what is known; else it ended between the two looks
    return code === 'EPERM' || (syscall === 'open' && process.platform !== 'linux')
  }
}

/**
 * Returns when the agent of that process id answers no more and, where it runs on this machine, has ended: it closes
 * its socket first and its store last, and who copies or replaces the home after a stop must not do so in between.
 * Throws WAIT_TIMED_OUT after 30 s.
 */
export async function untilGone(client: Client, pid: number, here: boolean): Promise<void> {
  const deadline = Date.now() + limitMs
  while (Date.now() < deadline) {
    const answers = await client.call('agent.get', {}).then(
      ({agent}) => agent.pid === pid,
      // While it shuts down it refuses; only silence means that it is gone.
      (error: unknown) => !(error instanceof DbaasError && error.code === 'AGENT_UNREACHABLE'),
    )
    if (!answers && !(here && lives(pid))) return
    await sleep(25)
  }
  throw new DbaasError('WAIT_TIMED_OUT', `the agent (pid ${pid}) has not ended after ${limitMs / 1000} s`, {
    details: {pid: String(pid)},
    suggestions: ['dbaas agent logs', 'dbaas agent status'],
  })
}
