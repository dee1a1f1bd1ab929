/**
 * A shell in a container that does one small thing after the other: files are read, written and removed through it. A
 * `docker exec` for each would take a tenth of a second; this takes a few milliseconds. Texts go both ways: a line of
 * script and a line of input in base 64; the output, and a line with the mark of the session and the exit code.
 */
import {randomBytes} from 'node:crypto'
import type {Duplex} from 'node:stream'
import {DbaasError} from '../../../core/errors.js'
import {createFrameReader} from './frames.js'

export interface Answer {
  readonly code: number
  /** Standard output and error. */
  readonly output: string
}

export interface Session {
  readonly ended: boolean
  /** Runs a line of POSIX sh with arguments, as the server's user; none of them has a line break. Throws RUNTIME_UNAVAILABLE when the container ends. */
  run(script: string, args: readonly string[], input?: Buffer): Promise<Answer>
  /** What it runs in sees the end of its input, and ends. */
  close(): void
}

/** `read` takes its input byte by byte, so that nothing is lost to a buffer; it ends with the agent's connection. */
const loop = `
umask 077
while IFS= read -r script && IFS= read -r input; do
  if [ -n "$input" ]; then printf %s "$input" | base64 -d | (eval "$script") 2>&1; else (eval "$script") </dev/null 2>&1; fi
  echo "$1 $?"
done
`

export interface SessionShell {
  readonly mark: string
  readonly argv: string[]
}

export function sessionShell(): SessionShell {
  const mark = `dbaas-${randomBytes(12).toString('hex')}`
  return {mark, argv: ['/bin/sh', '-c', loop, 'dbaas', mark]}
}

export const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

const answerMs = 60_000
/** Of a mark, a space, a code and a line break. */
const longestEnd = 64

interface Waiting {
  resolve(answer: Answer): void
  reject(error: unknown): void
}

/** `stream` is the shell's input, and its output in frames. `onEnd` is called once, however it ends. */
export function createSession(stream: Duplex, mark: string, onEnd: () => void): Session {
  const readFrames = createFrameReader()
  const end = new RegExp(`${mark} (\\d+)\\n`)
  let heard: Buffer[] = []
  /** The last of it, in which an end may have begun: an answer of many megabytes is looked through once. */
  let tail = ''
  let ended = false
  /** In the order in which they were asked. */
  const waiting: Waiting[] = []

  stream.on('data', (piece: Buffer) => {
    for (const {content} of readFrames(piece)) {
      heard.push(content)
      tail += content.toString('latin1')
    }
    if (end.test(tail)) answer()
    tail = tail.slice(-longestEnd)
  })

  function answer(): void {
    let text = Buffer.concat(heard).toString('latin1')
    for (let match = end.exec(text); match; match = end.exec(text)) {
      const output = Buffer.from(text.slice(0, match.index), 'latin1').toString('utf8')
      text = text.slice(match.index + match[0].length)
      waiting.shift()?.resolve({code: Number(match[1]), output})
    }
    heard = [Buffer.from(text, 'latin1')]
    tail = text
  }

  stream.on('error', finish)
  stream.on('end', finish)
  stream.on('close', finish)

  function finish(): void {
    if (ended) return
    ended = true
    stream.destroy()
    const words = Buffer.concat(heard).toString('utf8').trim()
    for (const each of waiting.splice(0)) {
      each.reject(new DbaasError('RUNTIME_UNAVAILABLE', `the container ended while it was asked${words === '' ? '' : `: ${words.slice(-500)}`}`, {suggestions: ['docker ps --all', 'dbaas doctor']}))
    }
    onEnd()
  }

  return {
    get ended() {
      return ended
    },
    run(script, args, input = Buffer.alloc(0)) {
      if (ended) return Promise.reject(new DbaasError('RUNTIME_UNAVAILABLE', 'the container has ended'))
      const whole = `set -- ${args.map(quote).join(' ')}; ${script}`
      if (whole.includes('\n')) return Promise.reject(new DbaasError('INTERNAL', `a line break in what a container is asked: ${whole}`))
      return new Promise<Answer>((resolve, reject) => {
        const timer = setTimeout(() => {
          reject(new DbaasError('RUNTIME_UNAVAILABLE', `a container did not answer within ${answerMs / 1000} s`, {suggestions: ['docker ps', 'dbaas doctor']}))
          // what comes late would be taken for the answer to something else
          finish()
        }, answerMs)
        const settle = <T>(done: (value: T) => void) => (value: T) => {
          clearTimeout(timer)
          done(value)
        }
        waiting.push({resolve: settle(resolve), reject: settle(reject)})
        stream.write(`${whole}\n${input.toString('base64')}\n`)
      })
    },
    close: finish,
  }
}
