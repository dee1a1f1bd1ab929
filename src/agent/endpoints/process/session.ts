import type {Socket} from 'node:net'
import type {Refusal} from '../endpoint.js'
import {type Sink, connectReading, readAccepted} from './byte-reader.js'

export interface Address {
  readonly host: string
  readonly port: number
}

/** `refused`: it hears why, and that is all. */
export type SessionState = 'held' | 'connecting' | 'established' | 'refused' | 'closed'

/** Looks at the first so many bytes of a client, before anybody else gets them. */
export interface Inspect {
  readonly bytes: number
  /** False: the session is closed. `first` is all that has come, which may be more. */
  passes(first: Buffer, session: Session): boolean
}

interface SessionOptions {
  /** Called after each change of state; `closed` is the last, when both sockets are closed. */
  readonly onState: (session: Session) => void
  readonly refusal: () => Refusal | undefined
  readonly inspect: Inspect | undefined
}

/** A server that restarts refuses for a moment; longer is not hidden: that is what `hold` is for. */
const connectForMs = 1000
const connectAgainMs = 20
const connectTimeoutMs = 5000
/** Where there is another to try. */
const connectOneOfSeveralMs = 1000
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
  /** Where it is, or is going. */
  target: Address | null = null
  readonly #client: Socket
  readonly #options: SessionOptions
  #inspect: Inspect | undefined
  /** Too little of it yet to be judged. */
  #first: Buffer | undefined
  #target: Socket | null = null
  #early: Buffer[] = []
  #earlyBytes = 0
  #clientEnded = false
  #openSockets = 1
  #timer: NodeJS.Timeout | undefined

  constructor(accepted: Socket, options: SessionOptions) {
    this.#options = options
    this.#inspect = options.inspect
    this.#client = readAccepted(accepted, this.#fromClient)
    this.#client.on('end', this.#onClientEnd)
    this.#client.on('error', this.close)
    this.#client.on('drain', () => this.#target?.resume())
    this.#client.on('close', () => {
      this.#openSockets--
      // Its error, if any, has closed the session; a clean end leaves the target its half.
      if (this.state !== 'established') this.close()
      this.#settle()
    })
  }

  /** Waits, at most so long; also takes back a session that was on its way to a target. */
  hold(forMs: number): void {
    if (this.state !== 'held' && this.state !== 'connecting') return
    this.#abandonTarget()
    this.target = null
    this.#timer = setTimeout(() => this.refuse(), forMs)
    this.#become('held')
    this.#dropSilent()
  }

  /** Connects to the first of the targets that can be reached; also when it was on its way to another. With none it is refused. */
  forward(targets: readonly Address[]): void {
    if (this.state !== 'held' && this.state !== 'connecting') return
    if (targets.length === 0) return this.refuse()
    this.#abandonTarget()
    this.#become('connecting')
    this.#connect(targets, 0, Date.now() + connectForMs)
  }

  /** Says why, where there are words for it, and ends. */
  refuse(): void {
    if (this.state !== 'held' && this.state !== 'connecting') return
    const refusal = this.#options.refusal()
    if (refusal === undefined) return this.close()
    this.#abandonTarget()
    this.target = null
    this.#inspect = undefined
    this.#become('refused')
    this.#timer = setTimeout(this.close, flushForMs)
    if (refusal.when === 'at-once' || this.#earlyBytes > 0) this.#client.end(Buffer.from(refusal.base64, 'base64'))
  }

  /** Closes both sides at once. */
  readonly close = (): void => {
    clearTimeout(this.#timer)
    this.#client.destroy()
    this.#target?.destroy()
  }

  #connect(targets: readonly Address[], attempt: number, until: number): void {
    const address = targets[attempt % targets.length] as Address
    const target = connectReading(address, this.#fromTarget)
    this.target = address
    this.#target = target
    this.#openSockets++
    let connected = false
    const tryNext = (): void => {
      clearTimeout(this.#timer)
      const allTried = (attempt + 1) % targets.length === 0
      if (allTried && Date.now() >= until) return this.refuse()
      if (!allTried) return this.#connect(targets, attempt + 1, until)
      this.#timer = setTimeout(() => this.#connect(targets, attempt + 1, until), connectAgainMs)
    }
    target.on('close', () => {
      this.#openSockets--
      this.#settle()
    })
    this.#timer = setTimeout(() => {
      if (targets.length === 1) return this.refuse()
      target.destroy()
      tryNext()
    }, targets.length === 1 ? connectTimeoutMs : connectOneOfSeveralMs)
    target.on('error', () => {
      if (this.#target !== target) return
      if (!connected) return tryNext()
      clearTimeout(this.#timer)
      this.#endAfterTarget()
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
    if (this.#inspect !== undefined) return this.#judge(this.#first === undefined ? bytes : Buffer.concat([this.#first, bytes]), this.#inspect)
    if (this.state === 'refused') return this.#hearRefused()
    if (this.state === 'established') return (this.#target as Socket).write(bytes)
    this.#early.push(bytes)
    this.#earlyBytes += bytes.length
    return this.#earlyBytes < earlyLimitBytes
  }

  #judge(first: Buffer, inspect: Inspect): boolean {
    if (first.length < inspect.bytes) {
      this.#first = first
      return true
    }
    this.#inspect = undefined
    this.#first = undefined
    if (inspect.passes(first, this)) return this.#fromClient(first)
    this.close()
    return true
  }

  /** The first word of one who speaks first is answered; the rest is nobody's. */
  #hearRefused(): boolean {
    const refusal = this.#options.refusal()
    if (this.#earlyBytes === 0 && refusal?.when === 'when-spoken-to') this.#client.end(Buffer.from(refusal.base64, 'base64'))
    this.#earlyBytes = 1
    return true
  }

  readonly #fromTarget: Sink = (bytes) => this.#client.write(bytes)

  readonly #onClientEnd = (): void => {
    this.#clientEnded = true
    if (this.#first !== undefined) {
      this.#inspect = undefined
      this.#fromClient(this.#first)
    }
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
    this.#options.onState(this)
  }
}
