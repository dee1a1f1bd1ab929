import type {Socket} from 'node:net'
import {type Sink, connectReading, readAccepted} from './byte-reader.js'

export interface Address {
  readonly host: string
  readonly port: number
}

export type SessionState = 'held' | 'connecting' | 'established' | 'closed'

/** A server that restarts refuses for a moment; longer is not hidden: that is what `hold` is for. */
const connectForMs = 1000
const connectAgainMs = 20
const connectTimeoutMs = 5000
/** What a client may send before it is connected; PostgreSQL and MySQL clients send one packet and wait. */
const earlyLimitBytes = 64 * 1024
const flushForMs = 5000

/**
 * One client: held, then connected to a target, then bytes in both directions until both have ended. The client is read
 * from the first moment, into a small bounded buffer, because a socket that nobody reads never tells that its peer
 * left.
 */
export class Session {
  state: SessionState = 'held'
  readonly #client: Socket
  readonly #onState: (session: Session) => void
  #target: Socket | null = null
  #early: Buffer[] = []
  #earlyBytes = 0
  #clientEnded = false
  #openSockets = 1
  #timer: NodeJS.Timeout | undefined

  /** `onState` is called after each change of state; `closed` is the last, when both sockets are closed. */
  constructor(accepted: Socket, onState: (session: Session) => void) {
    this.#onState = onState
    this.#client = readAccepted(accepted, this.#fromClient)
    this.#client.on('end', this.#onClientEnd)
    this.#client.on('error', this.close)
    this.#client.on('drain', () => this.#target?.resume())
    this.#client.on('close', () => {
      this.#openSockets--
      // Its error, if any, has closed the session; a clean end leaves the target its half.
      if (this.state === 'held' || this.state === 'connecting') this.close()
      this.#settle()
    })
  }

  /** Waits, at most so long; also takes back a session that was on its way to a target. */
  hold(forMs: number): void {
    if (this.state !== 'held' && this.state !== 'connecting') return
    this.#abandonTarget()
    this.#timer = setTimeout(this.close, forMs)
    this.#become('held')
    this.#dropSilent()
  }

  /** Connects to the target, or to another one if it was still connecting. */
  forward(target: Address): void {
    if (this.state !== 'held' && this.state !== 'connecting') return
    this.#abandonTarget()
    this.#become('connecting')
    this.#connect(target, Date.now() + connectForMs)
  }

  /** Closes both sides at once. */
  readonly close = (): void => {
    clearTimeout(this.#timer)
    this.#client.destroy()
    this.#target?.destroy()
  }

  #connect(address: Address, until: number): void {
    const target = connectReading(address, this.#fromTarget)
    this.#target = target
    this.#openSockets++
    let connected = false
    target.on('close', () => {
      this.#openSockets--
      this.#settle()
    })
    this.#timer = setTimeout(this.close, connectTimeoutMs)
    target.on('error', () => {
      if (this.#target !== target) return
      clearTimeout(this.#timer)
      if (connected) return this.#endAfterTarget()
      if (Date.now() >= until) return this.close()
      this.#timer = setTimeout(() => this.#connect(address, until), connectAgainMs)
    })
    target.on('connect', () => {
      if (this.#target !== target) return
      connected = true
      clearTimeout(this.#timer)
      this.#establish(target)
    })
  }

  #establish(target: Socket): void {
    target.on('drain', () => this.#client.resume())
    target.on('end', () => this.#client.end())
    this.#become('established')
    for (const bytes of this.#early) target.write(bytes)
    this.#early = []
    if (this.#clientEnded) target.end()
    else if (!target.writableNeedDrain) this.#client.resume()
  }

  readonly #fromClient: Sink = (bytes) => {
    if (this.state === 'established') return (this.#target as Socket).write(bytes)
    this.#early.push(bytes)
    this.#earlyBytes += bytes.length
    return this.#earlyBytes < earlyLimitBytes
  }

  readonly #fromTarget: Sink = (bytes) => this.#client.write(bytes)

  readonly #onClientEnd = (): void => {
    this.#clientEnded = true
    if (this.state === 'established') this.#target?.end()
    else if (this.state === 'held') this.#dropSilent()
  }

  /** Who left the queue without a word needs no server; what others said (a cancel request) is still delivered. */
  #dropSilent(): void {
    if (this.#clientEnded && this.#earlyBytes === 0) this.close()
  }

  /** The target broke: the client still gets what was read from it, then the end. */
  #endAfterTarget(): void {
    if (this.#client.writableLength === 0) return this.close()
    this.#timer = setTimeout(this.close, flushForMs)
    this.#client.destroySoon()
  }

  #abandonTarget(): void {
    clearTimeout(this.#timer)
    const target = this.#target
    this.#target = null
    target?.destroy()
  }

  #settle(): void {
    if (this.#openSockets > 0 || !this.#client.destroyed) return
    clearTimeout(this.#timer)
    this.#become('closed')
  }

  #become(state: SessionState): void {
    if (this.state === 'closed') return
    this.state = state
    this.#onState(this)
  }
}
