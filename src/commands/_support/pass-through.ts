import {spawn} from 'node:child_process'
import {constants} from 'node:os'
import {DbaasError} from '../../core/errors.js'

/** Runs a program on our terminal as if it had been run in our place; returns its exit code, 128 + n for a signal. */
export async function passThrough(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const child = spawn(program, [...args], {stdio: 'inherit', env})
  // Ctrl-C reaches the whole foreground group by itself: the child decides, we only must not end before it.
  const stay = () => {}
  const hand = (signal: NodeJS.Signals) => child.kill(signal)
  process.on('SIGINT', stay)
  process.on('SIGTERM', hand)
  process.on('SIGHUP', hand)
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', (cause) => reject(new DbaasError('COMMAND_FAILED', `cannot run ${program}: ${cause.message}`, {cause})))
      child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])))
    })
  } finally {
    process.off('SIGINT', stay)
    process.off('SIGTERM', hand)
    process.off('SIGHUP', hand)
  }
}
