import {type ChildProcess, spawn} from 'node:child_process'
import {once} from 'node:events'
import type {Server} from 'node:net'
import type {Route} from '../endpoint.js'
import {type Boot, type BootOutcome, nodeFlags} from '../protocol.js'
import type {RouteTable} from './route-table.js'

/**
 * How one endpoint process becomes the next without a refused connection. The listening sockets go over the IPC
 * channel: for a moment both processes accept from the same queue, then the old one lets go; the queue itself never
 * closes. The lock goes along as an inherited descriptor, so at no time could a third process take it.
 *
 *   old                      successor
 *   boot            ->                        knows its site, holds the lock
 *   route + handle  ->       <- adopted       serves the route; one by one
 *   (control socket closed)
 *   commit          ->                        opens the control socket
 *                            <- serving
 *   drains, and obeys orders (ancestor.ts)
 *
 * Killed at any point: before `serving`, the old one goes on as if nothing had been asked; when the old one dies, the
 * successor has the lock and the routes on disk, and begins on its own.
 */
type Handover = {readonly type: 'route'; readonly route: Route; readonly listening: boolean} | {readonly type: 'commit'}
type Answer = BootOutcome | {readonly type: 'booted'} | {readonly type: 'adopted'; readonly routeId: string}

const stepMs = 10_000

export interface HandOverOptions {
  readonly bundle: string
  readonly boot: Boot
  readonly lock: number
  readonly table: RouteTable
  /** Called before `commit`: the control socket's path must be free for the successor. */
  readonly beforeCommit: () => void
}

/** The old side. Resolves with the successor once it serves; when it does not, throws and leaves none behind. */
export function handOver({bundle, boot, lock, table, beforeCommit}: HandOverOptions): Promise<ChildProcess> {
  return table.exclusively(async (gates) => {
    const successor = spawn(process.execPath, [...nodeFlags, bundle], {
      detached: true, cwd: '/', stdio: ['ignore', 'inherit', 'inherit', 'ipc', lock],
    })
    const answers = new Answers(successor)
    try {
      await send(successor, boot)
      await answers.next('booted')
      for (const {route, server} of gates) {
        await send(successor, {type: 'route', route, listening: server !== null} satisfies Handover, server)
        await answers.next('adopted')
      }
      beforeCommit()
      await send(successor, {type: 'commit'} satisfies Handover)
      await answers.next('serving')
      // Inside the turn of the table: no change may come between the routes that were sent and the end of our reign.
      table.drain()
      return successor
    } catch (error) {
      successor.kill('SIGKILL')
      const runs = successor.pid !== undefined && successor.exitCode === null && successor.signalCode === null
      if (runs) await once(successor, 'exit')
      throw error
    }
  })
}

/** The new side: returns when the old process has committed, or is gone. */
export function inherit(table: RouteTable): Promise<'committed' | 'orphaned'> {
  return new Promise((resolve) => {
    const orphaned = () => resolve('orphaned')
    process.once('disconnect', orphaned)
    process.on('message', function take(message: Handover, server: Server | undefined) {
      if (message.type === 'route') {
        table.adopt(message.route, message.listening && server ? server : null)
        answer({type: 'adopted', routeId: message.route.id})
      } else if (message.type === 'commit') {
        process.off('message', take)
        process.off('disconnect', orphaned)
        resolve('committed')
      }
    })
    answer({type: 'booted'})
  })
}

/** To whoever started this process; nobody may be left to hear it. */
export function answer(message: Answer): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => {})
}

function send(child: ChildProcess, message: Handover | Boot, server: Server | null = null): Promise<void> {
  return new Promise((resolve, reject) => {
    child.send(message, server ?? undefined, undefined, (error) => (error ? reject(error) : resolve()))
  })
}

/** Answers in the order they came, each waited for a bounded time; the child's end fails whoever waits. */
class Answers {
  readonly #come: Answer[] = []
  #wake: (() => void) | null = null
  #ended: string | null = null

  constructor(child: ChildProcess) {
    child.on('message', (message: Answer) => {
      this.#come.push(message)
      this.#wake?.()
    })
    const end = (because: string) => {
      this.#ended ??= because
      this.#wake?.()
    }
    child.on('error', (error) => end(error.message))
    child.on('exit', (code, signal) => end(`it ended with ${signal ?? code}`))
  }

  async next(type: Answer['type']): Promise<void> {
    const until = Date.now() + stepMs
    while (this.#come.length === 0) {
      const left = until - Date.now()
      if (this.#ended !== null || left <= 0) {
        throw new Error(`the successor did not say "${type}": ${this.#ended ?? `no word for ${stepMs} ms`}`)
      }
      await new Promise<void>((resolve) => {
        const late = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(late)
          resolve()
        }
      })
    }
    const got = this.#come.shift() as Answer
    const said = 'message' in got ? got.message : got.type
    if (got.type !== type) throw new Error(`the successor said "${said}" instead of "${type}"`)
  }
}
