/**
 * The engine of another machine over ssh, as the docker command reaches it: `docker system dial-stdio` at the other
 * end. The ssh program of this machine is used, so that its known hosts, its configuration and its agent hold; a
 * library of our own would trust any host.
 */
import {spawn, type ChildProcessWithoutNullStreams} from 'node:child_process'
import {Agent} from 'node:http'
import {Duplex} from 'node:stream'
import type {Environment, Transport} from './connection.js'

const connectSeconds = 10

export class SshAgent extends Agent {
  constructor(private readonly target: Extract<Transport, {kind: 'ssh'}>, private readonly env: Environment) {
    super({keepAlive: true, maxFreeSockets: 4, timeout: 60_000})
  }

  override createConnection(): Duplex {
    const {user, host, port} = this.target
    const argv = [
      // never a question: nobody is there to answer it
      '-T', '-o', 'BatchMode=yes', '-o', `ConnectTimeout=${connectSeconds}`,
      ...(user === null ? [] : ['-l', user]), ...(port === null ? [] : ['-p', String(port)]),
      '--', host, 'docker', 'system', 'dial-stdio',
    ]
    return new ProgramSocket(spawn('ssh', argv, {env: {...this.env}, stdio: ['pipe', 'pipe', 'pipe']}))
  }
}

/** The two pipes of a program, with what an HTTP client expects of a socket. */
class ProgramSocket extends Duplex {
  #said = ''
  #heard = false

  constructor(private readonly child: ChildProcessWithoutNullStreams) {
    super({allowHalfOpen: true})
    child.stdout.on('data', (chunk) => {
      this.#heard = true
      if (!this.push(chunk)) child.stdout.pause()
    })
    child.stderr.on('data', (chunk: Buffer) => (this.#said = (this.#said + chunk.toString()).slice(-2000)))
    child.stdin.on('error', () => undefined)
    child.on('error', (error) => this.destroy(Object.assign(new Error(`the program ssh cannot be run: ${error.message}`), {code: 'ESSH'})))
    child.on('close', (code) => {
      if (this.destroyed) return
      // not when its output ends: a moment later it has said why
      if (code === 0 || this.#heard) this.push(null)
      else this.destroy(Object.assign(new Error(`ssh: ${this.#said.trim() || `it ended with code ${code}`}`), {code: 'ESSH'}))
    })
  }

  override _read(): void {
    this.child.stdout.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    // when it has ended, its own words tell why
    this.child.stdin.write(chunk, () => done())
  }

  override _final(done: () => void): void {
    this.child.stdin.end(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.child.kill()
    done(error)
  }

  setTimeout(): this {
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  ref(): this {
    this.child.ref()
    return this
  }

  unref(): this {
    this.child.unref()
    return this
  }
}
