/**
 * The two ends of the IPC channel that stays between a successor and the process it replaced, while that one drains.
 * Sessions must not escape control by being old: a change of route, and above all the closing of sessions before a
 * failover, reaches every process that still has some, down a chain of any length.
 */
import type {Route} from '../endpoint.js'

export type Order =
  | {readonly kind: 'put'; readonly route: Route}
  | {readonly kind: 'remove'; readonly routeId: string}
  | {readonly kind: 'replace'; readonly routes: readonly Route[]}
  | {readonly kind: 'closeSessions'; readonly routeId: string; readonly target?: Route['listen'] | undefined}
  | {readonly kind: 'count'}
  | {readonly kind: 'end'}

/** Sessions and held clients of each route id. */
export type Counts = Readonly<Record<string, {readonly sessions: number; readonly held: number}>>
export type OrderResult = number | Counts | null

export interface OrderMessage {
  readonly type: 'order'
  readonly number: number
  readonly order: Order
}
export interface OrderDone {
  readonly type: 'done'
  readonly number: number
  readonly result: OrderResult
}

const answerMs = 3000

/** The successor's end. */
export class Ancestor {
  #next = 1
  readonly #waiting = new Map<number, (result: OrderResult) => void>()

  constructor() {
    process.on('message', (message: OrderDone | {type: string}) => {
      if (message.type !== 'done') return
      const {number, result} = message as OrderDone
      this.#waiting.get(number)?.(result)
      this.#waiting.delete(number)
    })
    process.on('disconnect', () => {
      for (const resolve of this.#waiting.values()) resolve(null)
      this.#waiting.clear()
    })
  }

  get isThere(): boolean {
    return process.connected === true
  }

  /** Null when it has ended, or does not answer: its sessions end with it, or with their server. */
  order(order: Order): Promise<OrderResult> {
    if (!this.isThere) return Promise.resolve(null)
    const number = this.#next++
    return new Promise((resolve) => {
      const late = setTimeout(() => resolve(null), answerMs)
      this.#waiting.set(number, (result) => {
        clearTimeout(late)
        resolve(result)
      })
      process.send?.({type: 'order', number, order} satisfies OrderMessage, undefined, undefined, () => {})
    })
  }
}
