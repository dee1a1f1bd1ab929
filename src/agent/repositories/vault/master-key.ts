/** Where the site's master key comes from: a file, an environment variable, or a command that asks a KMS for it. */
import {execFile} from 'node:child_process'
import {readFile} from 'node:fs/promises'
import {promisify} from 'node:util'
import {DbaasError} from '../../../core/errors.js'

export interface MasterKey {
  /** Where it comes from, for a person. Never the key. */
  readonly where: string
  /** 32 bytes. Asked anew each time, so that a key that was taken away is gone. Throws KEY_UNAVAILABLE. */
  load(): Promise<Buffer>
}

/** 32 raw bytes, or their hexadecimal or base64 form with white space around it. */
function parse(text: Buffer, where: string): Buffer {
  const key = decode(text, where)
  // what a file holds that a crash has left without its content
  if (key.every((byte) => byte === 0)) throw unavailable(where, 'it is nothing but zeros')
  return key
}

function decode(text: Buffer, where: string): Buffer {
  // Random bytes are never all printable: that would be a password, or half of a key in hexadecimal.
  if (text.length === 32 && text.some((byte) => byte < 9 || (byte > 13 && byte < 32) || byte > 126)) return Buffer.from(text)
  const trimmed = text.toString('latin1').trim()
  if (/^[0-9a-fA-F]{64}$/.test(trimmed)) return Buffer.from(trimmed, 'hex')
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(trimmed)) return Buffer.from(trimmed, 'base64')
  throw unavailable(where, 'what it gives is not 32 bytes, nor their hexadecimal or base64 form')
}

const unavailable = (where: string, because: string, cause?: unknown) =>
  new DbaasError('KEY_UNAVAILABLE', `the master key cannot be had from ${where}: ${because}`, {
    cause, details: {key: where}, suggestions: ['put back the master key; without it no backup can be read'],
  })

export function masterKeyFromFile(path: string): MasterKey {
  const where = `the file ${path}`
  return {
    where,
    async load() {
      const text = await readFile(path).catch((error: NodeJS.ErrnoException) => {
        throw unavailable(where, error.code ?? error.message, error)
      })
      return parse(text, where)
    },
  }
}

/** `environment` is the agent's; the variable's value is hexadecimal or base64. */
export function masterKeyFromEnvironment(variable: string, environment: Readonly<Record<string, string | undefined>>): MasterKey {
  const where = `the environment variable ${variable}`
  return {
    where,
    async load() {
      const value = environment[variable]
      if (value === undefined || value === '') throw unavailable(where, 'it is not set')
      return parse(Buffer.from(value), where)
    },
  }
}

/** Runs a program without a shell; its standard output is the key. What it says on standard error is shown when it fails. */
export function masterKeyFromCommand(argv: readonly [program: string, ...rest: string[]], timeoutMs = 30_000): MasterKey {
  const where = `the command ${argv[0]}`
  return {
    where,
    async load() {
      const [program, ...rest] = argv
      try {
        const {stdout} = await promisify(execFile)(program, rest, {encoding: 'buffer', timeout: timeoutMs, maxBuffer: 64 * 1024})
        return parse(stdout, where)
      } catch (error) {
        if (error instanceof DbaasError) throw error
        const {stderr, code, killed} = error as {stderr?: Buffer; code?: string | number; killed?: boolean}
        const said = stderr?.toString('utf8').trim().split('\n').at(-1) ?? ''
        throw unavailable(where, killed ? `it did not end within ${timeoutMs} ms` : said || `it failed (${code})`, error)
      }
    },
  }
}
