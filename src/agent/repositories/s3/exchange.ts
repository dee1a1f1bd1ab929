/**
 * One request and its answer over node:http, bounded in time at every stage, the body sent no faster than it is taken.
 * What ends it is an Error in Node's words; nothing is tried again here.
 */
import http from 'node:http'
import https from 'node:https'
import type {LookupFunction} from 'node:net'
import type {Target} from './options.js'

/** Milliseconds. */
export interface Limits {
  /** Name found, connected, TLS spoken. */
  readonly connectMs: number
  /** Without a byte in either direction. */
  readonly idleMs: number
  /** An exchange may take this long, and longer for what it carries at the pace of `slowestBytesPerSecond`. */
  readonly attemptMs: number
  readonly slowestBytesPerSecond: number
}

export interface Outgoing {
  readonly method: string
  /** With its query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** `length` bytes in all. */
  readonly body?: {readonly length: number; readonly parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>}
}

export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  /** In memory of its own: it may be transferred. */
  readonly body: Buffer
}

export type Exchange = (outgoing: Outgoing) => Promise<Answer>

/** What is given to the socket at once: with TLS it is encrypted at once. */
const pieceBytes = 256 * 1024
/** Larger bodies wait for the server to ask for them: one that refuses has not been sent all of it in vain. */
const askFirstBytes = 1024 * 1024
/** Servers that do not know how to ask get it anyway. */
const askMs = 1000
/** Of answers whose length is not known beforehand: lists, errors. */
const unknownBytes = 16 * 1024 * 1024

export class TooSlow extends Error {
  readonly code = 'ETIMEDOUT'
}

export function createExchange(target: Target, limits: Limits, lookup?: LookupFunction): Exchange {
  const choices = {keepAlive: true, maxFreeSockets: 16, scheduling: 'lifo', timeout: 15_000} as const
  // Idle connections are closed before most servers close them, and hold no process.
  const agent = target.tls
    ? new https.Agent({...choices, minVersion: `TLSv${target.minTls}`, ...(target.ca === undefined ? {} : {ca: target.ca})})
    : new http.Agent(choices)
  const start = target.tls ? https.request : http.request

  return ({method, path, headers, body}) => new Promise<Answer>((resolve, reject) => {
    const askFirst = body !== undefined && body.length >= askFirstBytes
    const request = start({
      agent, method, path, host: target.host, port: target.port, setHost: false, ...(lookup ? {lookup} : {}),
      headers: {...headers, ...(body ? {'content-length': String(body.length)} : {}), ...(askFirst ? {expect: '100-continue'} : {})},
    })
    let settled = false
    let answered = false
    const settle = (finish: () => void) => {
      if (settled) return
      settled = true
      for (const timer of [connecting, idle, all]) clearTimeout(timer)
      finish()
    }
    const fail = (error: Error) => settle(() => {
      request.destroy()
      reject(error)
    })
    const late = (words: string) => () => fail(new TooSlow(words))
    const allowance = (bytes: number) => limits.attemptMs + (bytes / limits.slowestBytesPerSecond) * 1000
    const connecting = setTimeout(late(`no connection within ${limits.connectMs} ms`), limits.connectMs)
    const idle = setTimeout(late(`nothing came or went for ${limits.idleMs} ms`), limits.idleMs)
    let all = setTimeout(late('it took too long'), allowance(body?.length ?? 0))
    const progress = () => void (settled || idle.refresh())

    request.on('socket', (socket) => {
      const connected = () => {
        clearTimeout(connecting)
        progress()
      }
      if (socket.connecting) socket.once(target.tls ? 'secureConnect' : 'connect', connected)
      else connected()
    })
    // For good: a connection may say something after its answer.
    request.on('error', fail)
    request.on('close', () => fail(new Error('the connection was closed')))

    request.on('response', (response) => {
      answered = true
      clearTimeout(connecting)
      progress()
      const told = response.headers['content-length']
      const length = method === 'HEAD' || told === undefined ? undefined : Number(told)
      if (length) {
        clearTimeout(all)
        all = setTimeout(late('it took too long'), allowance(length))
      }
      let whole = Buffer.allocUnsafeSlow(0)
      try {
        if (length !== undefined) whole = Buffer.allocUnsafeSlow(length)
      } catch (error) {
        return fail(error as Error)
      }
      const portions: Buffer[] = []
      let at = 0
      response.on('error', fail)
      response.on('close', () => fail(new Error('the answer was cut off')))
      response.on('data', (portion: Buffer) => {
        progress()
        if (length === undefined) portions.push(portion)
        else portion.copy(whole, at)
        at += portion.length
        if (length === undefined && at > unknownBytes) fail(new Error('the answer does not end'))
      })
      response.on('end', () => {
        if (length !== undefined && at !== length) return fail(new Error(`the answer has ${at} bytes and not ${length}`))
        if (length === undefined) {
          whole = Buffer.allocUnsafeSlow(at)
          portions.reduce((to, portion) => to + portion.copy(whole, to), 0)
        }
        const finish = () => settle(() => resolve({status: response.statusCode ?? 0, headers: response.headers, body: whole}))
        // It has not taken all of the body: no success of it can be of what was sent, and the connection is of no further use.
        if (request.writableFinished) return finish()
        if ((response.statusCode ?? 0) < 300 && method !== 'HEAD') return fail(new Error('it was answered before it was sent'))
        finish()
        request.destroy()
      })
    })

    /** Until the socket wants more. */
    const drained = () => new Promise<void>((again) => {
      const done = () => {
        request.off('drain', done)
        request.off('close', done)
        again()
      }
      request.on('drain', done)
      request.on('close', done)
    })
    async function send(parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
      for await (const part of parts) {
        for (let at = 0; at < part.length; at += pieceBytes) {
          if (settled || answered) return
          if (!request.write(part.subarray(at, at + pieceBytes))) await drained()
          progress()
        }
      }
      if (!settled && !answered) request.end()
    }
    if (body === undefined) request.end()
    else {
      let begun = false
      const begin = () => {
        if (begun || settled || answered) return
        begun = true
        progress()
        send(body.parts).catch(fail)
      }
      if (askFirst) {
        request.on('continue', begin)
        request.flushHeaders()
        request.once('socket', (socket) => {
          const wait = () => setTimeout(begin, askMs).unref()
          if (socket.connecting) socket.once(target.tls ? 'secureConnect' : 'connect', wait)
          else wait()
        })
      } else begin()
    }
  })
}
