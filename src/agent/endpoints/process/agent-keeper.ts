import {type ChildProcess, spawn} from 'node:child_process'
import type {AgentLaunch} from '../protocol.js'

const firstDelayMs = 200
const longestDelayMs = 30_000
/** An agent that has just started this process connects at once; one that has died meanwhile never does. */
const firstContactMs = 5000
/** An agent that was started but has not connected: after so long, another try. */
const startupMs = 15_000

/**
 * Brings the agent back whenever it is gone without having said that it was asked to stop. A second agent does no harm:
 * who finds the agent's lock taken exits 0.
 */
export class AgentKeeper {
  #launch: AgentLaunch
  #delayMs = firstDelayMs
  #timer: NodeJS.Timeout | undefined
  #child: ChildProcess | null = null
  /** Started here and not yet ended, whether they connected or not. */
  readonly #started = new Set<ChildProcess>()

  constructor(launch: AgentLaunch) {
    this.#launch = launch
    this.#startIn(firstContactMs)
  }

  get launch(): AgentLaunch {
    return this.#launch
  }

  connected(launch: AgentLaunch): void {
    this.#launch = launch
    this.rest()
  }

  lost(): void {
    this.#delayMs = firstDelayMs
    this.#startIn(firstDelayMs)
  }

  /** Somebody else sees to the agent now, or nobody should. */
  rest(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#delayMs = firstDelayMs
    this.#child = null
  }

  /**
   * The agent was asked to stop. One that was started here and is still on its way would find the lock free a moment
   * later, and undo the stop; the agent that stops takes the signal for what it does already.
   */
  stopAsked(): void {
    for (const child of this.#started) child.kill('SIGTERM')
    this.rest()
  }

  #startIn(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#start(), ms)
  }

  #start(): void {
    const [program, ...parameters] = this.#launch.command
    if (program === undefined) return
    const child = spawn(program, parameters, {detached: true, stdio: 'ignore', cwd: '/', env: this.#launch.env})
    this.#child = child
    this.#started.add(child)
    child.on('exit', () => this.#started.delete(child))
    const again = (because: string) => {
      // An agent that did connect has made us rest: how its process ends is then told by the connection.
      if (this.#child !== child) return
      this.#child = null
      console.error(`the agent did not come back (${because}); next attempt in ${this.#delayMs} ms`)
      this.#startIn(this.#delayMs)
      this.#delayMs = Math.min(this.#delayMs * 2, longestDelayMs)
    }
    child.on('error', (error) => again(error.message))
    child.on('exit', (code, signal) => again(`it ended with ${signal ?? code}`))
    child.unref()
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => again('it does not connect'), startupMs)
  }
}
