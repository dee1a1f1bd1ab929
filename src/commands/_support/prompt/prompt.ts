/** The prompt of `connect` where the engine's client is not installed: statements over the API, so it needs no client at all. */
import {createInterface} from 'node:readline'
import type {Interface} from 'node:readline'
import type {Client} from '../../../agent/client/client.js'
import type {Location} from '../../../agent/client/locate.js'
import type {ApiInstance} from '../../../core/api/schemas.js'
import {DbaasError} from '../../../core/errors.js'
import {nearest} from '../../../core/nearest.js'
import {formatDuration} from '../../../core/time.js'
import type {EnginePrompt} from '../../../engines/prompt.js'
import {renderDetails} from '../render/details.js'
import {renderFailure} from '../render/failure.js'
import {paintFor} from '../render/paint.js'
import type {Paint} from '../render/paint.js'
import {renderSql, renderVertical} from '../render/sql.js'
import {requestIdOf, toDbaasError} from '../failure.js'
import {loadHistory, saveHistory} from './history.js'
import {stateOf, withoutEnd} from './statements.js'

/** Runs until `\q`, Ctrl-D or the end of stdin. Returns the exit code; in a pipe the first error ends it. */
export async function runPrompt(client: Client, location: Location, instance: ApiInstance, prompt: EnginePrompt): Promise<number> {
  const [out, err] = [await paintFor(process.stdout), await paintFor(process.stderr)]
  const interactive = process.stdin.isTTY === true && process.stdout.isTTY === true
  const history = interactive ? await loadHistory(location.home) : []
  const lines = createInterface({
    input: process.stdin, output: interactive ? process.stdout : undefined, terminal: interactive, history, historySize: 1000, removeHistoryDuplicates: true,
  } as Parameters<typeof createInterface>[0])
  if (interactive) {
    process.stdout.write(`${instance.name}: ${instance.engine} ${instance.version}. \\? helps, \\q quits; each statement is a transaction of its own.\n`)
    lines.on('history', (now: string[]) => history.splice(0, history.length, ...now))
  }
  try {
    return await converse(lines, {client, prompt, name: instance.id, label: instance.database, interactive, out, err})
  } finally {
    lines.close()
    if (interactive) await saveHistory(location.home, history)
  }
}

interface Session {
  readonly client: Client
  readonly prompt: EnginePrompt
  readonly name: string
  /** Shown in the prompt. */
  readonly label: string
  readonly interactive: boolean
  readonly out: Paint
  readonly err: Paint
}

async function converse(lines: Interface, session: Session): Promise<number> {
  const {lexis, bare, delimiter: hasDelimiter} = session.prompt.words
  let pending = ''
  let delimiter = ';'
  const ask = () => {
    lines.setPrompt(`${session.label}${pending === '' ? '=>' : '->'} `)
    if (session.interactive) lines.prompt()
  }
  // Ctrl-C drops what was typed, as in psql; it does not leave.
  lines.on('SIGINT', () => {
    pending = ''
    process.stdout.write('\n')
    ask()
  })
  ask()
  for await (const line of lines) {
    const text = line.trim()
    const [first = '', second] = text.replace(/;$/, '').split(/\s+/, 2)
    const begins = pending === ''
    const word = begins && Object.hasOwn(bare, first.toLowerCase()) ? (bare[first.toLowerCase()] as string) : first
    // As in psql, a backslash command also counts in the middle of a statement, which then goes on.
    const isMeta = word.startsWith('\\') && !(lexis.backslashG && /^\\g$/i.test(word)) && stateOf(pending, lexis, delimiter) !== 'quoted'
    if (isMeta ? word === '\\q' : begins && /^(?:quit|exit)\s*;?$/.test(text)) return 0
    if (hasDelimiter && begins && /^delimiter$/i.test(first) && second !== undefined) delimiter = text.split(/\s+/)[1] as string
    else if (isMeta) {
      const ok = await attempt(session, () => command(word, second, session, first))
      if (!ok && !session.interactive) return 1
    } else {
      pending = begins ? text : `${pending}\n${line}`
      if (stateOf(pending, lexis, delimiter) === 'complete') {
        const {statement, vertical} = withoutEnd(pending, lexis, delimiter)
        pending = ''
        const ok = await attempt(session, () => send(statement, session, {vertical, timed: true}))
        if (!ok && !session.interactive) return 1
      }
    }
    ask()
  }
  // A file may leave out its last `;`.
  if (pending.trim() !== '' && !session.interactive) return (await attempt(session, () => send(pending, session))) ? 0 : 1
  if (session.interactive) process.stdout.write('\n')
  return 0
}

async function attempt(session: Session, work: () => Promise<void>): Promise<boolean> {
  try {
    await work()
    return true
  } catch (error) {
    process.stderr.write(renderFailure(toDbaasError(error), requestIdOf(error), session.err))
    return false
  }
}

async function send(statement: string, {client, prompt, name, interactive, out}: Session, {vertical = false, timed = false} = {}): Promise<void> {
  if (prompt.words.needsSession(statement)) {
    throw new DbaasError('NOT_SUPPORTED', 'each text is a session of its own here, so a transaction cannot stay open', {
      suggestions: ['write it on one line: begin; …; commit;', `install ${prompt.client.package}: dbaas connect then uses ${prompt.client.programs[0]}`],
    })
  }
  const began = performance.now()
  const result = await client.call('instances.sql', {params: {instance: name}, body: {statement}, idempotencyKey: crypto.randomUUID()})
  const took = interactive && timed ? `${out.dim(formatDuration(performance.now() - began))}\n` : ''
  process.stdout.write(`${vertical ? renderVertical(result, out) : renderSql(result, out)}${took}`)
}

async function command(word: string, argument: string | undefined, session: Session, typed: string): Promise<void> {
  const {commands, unavailable} = session.prompt.words
  if (word.startsWith('\\?')) {
    process.stdout.write(helpText(session))
    return
  }
  const name = word.replace(/\+$/, '')
  if (Object.hasOwn(commands, name)) return send((commands[name] as (typeof commands)[string]).statement(argument), session)
  if (Object.hasOwn(unavailable, name)) {
    throw new DbaasError('NOT_SUPPORTED', `the built-in prompt has no ${typed}`, {suggestions: [unavailable[name] as string]})
  }
  const near = nearest(name, Object.keys(commands))
  throw new DbaasError('USAGE', `the built-in prompt has no ${name}`, {suggestions: [...(near ? [`did you mean ${near}?`] : []), '\\? lists what there is']})
}

function helpText({prompt: {words}, out}: Session): string {
  return renderDetails([
    ...Object.values(words.commands).map(({usage, meaning}) => [usage, meaning] as const),
    ...(words.lexis.backslashG ? [['…\\G', 'the rows one below the other'] as const] : []),
    ...(words.delimiter ? [['delimiter //', 'what ends a statement, for procedures and triggers'] as const] : []),
    ['\\?', 'this help'],
    ['\\q', 'quit (or Ctrl-D)'],
    ['Ctrl-C', 'forget what was typed'],
  ], out)
}
