/** Where the site's master key comes from: a file, an environment variable, or a command that asks a KMS for it. */
import {execFile} from 'node:child_process'
import {readFile} from 'node:fs/promises'
import {isAbsolute} from 'node:path'
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
export function masterKeyFromCommand(argv: readonly [program: string, ...rest: string[]], timeoutMs = 30_000, signal?: AbortSignal): MasterKey {
  const where = `the command ${argv[0]}`
  return {
    where,
    async load() {
      const [program, ...rest] = argv
      try {
        const {stdout} = await promisify(execFile)(program, rest, {encoding: 'buffer', timeout: timeoutMs, maxBuffer: 64 * 1024, killSignal: 'SIGKILL', ...(signal ? {signal} : {})})
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

/** Where a person says that it comes from. */
export type MasterKeySource =
  | {readonly kind: 'file'; readonly path: string}
  | {readonly kind: 'environment'; readonly variable: string}
  | {readonly kind: 'command'; readonly command: readonly [program: string, ...rest: string[]]}

/**
 * Written as one text: `file:/path`, `env:VARIABLE`, `command:["program","argument"]` or `command:program argument`
 * (cut at spaces: there is no shell). Throws INVALID_REQUEST.
 */
export function parseMasterKeySource(text: string): MasterKeySource {
  const [, kind, value] = /^(file|env|command):(.+)$/s.exec(text.trim()) ?? []
  if (kind === 'file' && isAbsolute(value as string)) return {kind: 'file', path: value as string}
  if (kind === 'env' && /^[A-Za-z_][A-Za-z0-9_]*$/.test(value as string)) return {kind: 'environment', variable: value as string}
  const command = kind === 'command' ? wordsOf((value as string).trim()) : undefined
  if (command) return {kind: 'command', command}
  // The text itself may be a key that somebody has put here by mistake.
  throw new DbaasError('INVALID_REQUEST', 'that does not say where a master key comes from', {
    suggestions: ['file:/absolute/path, env:VARIABLE, or command:program argument…'],
  })
}

function wordsOf(text: string): [string, ...string[]] | undefined {
  let words: unknown = text.split(/\s+/)
  if (text.startsWith('[')) {
    try {
      words = JSON.parse(text)
    } catch {
      return undefined
    }
  }
  const isCommand = Array.isArray(words) && words.length > 0 && words.every((word) => typeof word === 'string') && words[0] !== ''
  return isCommand ? (words as [string, ...string[]]) : undefined
}

/** `environment` is the agent's. */
export function masterKeyFrom(source: MasterKeySource, environment: Readonly<Record<string, string | undefined>>): MasterKey {
  switch (source.kind) {
    case 'file': return masterKeyFromFile(source.path)
    case 'environment': return masterKeyFromEnvironment(source.variable, environment)
    case 'command': return masterKeyFromCommand(source.command)
  }
}
