/** The prompt of `connect` where psql is not installed: statements over the API, so it needs no client at all. */
import {createInterface} from 'node:readline'
import type {Interface} from 'node:readline'
import type {Client} from '../../../agent/client/client.js'
import type {Location} from '../../../agent/client/locate.js'
import {DbaasError} from '../../../core/errors.js'
import {nearest} from '../../../core/nearest.js'
import {formatDuration} from '../../../core/time.js'
import {renderDetails} from '../render/details.js'
import {renderFailure} from '../render/failure.js'
import {paintFor} from '../render/paint.js'
import type {Paint} from '../render/paint.js'
import {renderSql} from '../render/sql.js'
import {requestIdOf, toDbaasError} from '../failure.js'
import {loadHistory, saveHistory} from './history.js'
import {metaCommands} from './postgresql.js'
import {leavesTransactionOpen, stateOf} from './statements.js'

/** Runs until `\q`, Ctrl-D or the end of stdin. Returns the exit code; in a pipe the first error ends it. */
export async function runPrompt(client: Client, location: Location, name: string): Promise<number> {
  const {instance} = await client.call('instances.get', {params: {instance: name}})
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
    return await converse(lines, {client, name: instance.id, label: instance.database, interactive, out, err})
  } finally {
    lines.close()
    if (interactive) await saveHistory(location.home, history)
  }
}

interface Session {
  readonly client: Client
  readonly name: string
  /** Shown in the prompt. */
  readonly label: string
  readonly interactive: boolean
  readonly out: Paint
  readonly err: Paint
}

async function converse(lines: Interface, session: Session): Promise<number> {
  let pending = ''
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
    // As in psql, a backslash command also counts in the middle of a statement, which then goes on.
    const isMeta = line.trimStart().startsWith('\\') && stateOf(pending) !== 'quoted'
    const text = line.trim()
    if (isMeta ? /^\\q\b/.test(text) : pending === '' && /^(?:quit|exit)\s*;?$/.test(text)) return 0
    if (!isMeta) pending = pending === '' ? text : `${pending}\n${line}`
    if (isMeta || stateOf(pending) === 'complete') {
      const statement = isMeta ? text : pending
      if (!isMeta) pending = ''
      const ok = await run(statement, isMeta, session)
      if (!ok && !session.interactive) return 1
    }
    ask()
  }
  // A file may leave out its last `;`.
  if (pending.trim() !== '' && !session.interactive) return (await run(pending, false, session)) ? 0 : 1
  if (session.interactive) process.stdout.write('\n')
  return 0
}

async function run(text: string, isMeta: boolean, session: Session): Promise<boolean> {
  try {
    if (isMeta && /^\\\?/.test(text)) process.stdout.write(helpText(session.out))
    else await send(isMeta ? translate(text) : text, isMeta, session)
    return true
  } catch (error) {
    process.stderr.write(renderFailure(toDbaasError(error), requestIdOf(error), session.err))
    return false
  }
}

async function send(statement: string, isMeta: boolean, {client, name, interactive, out}: Session): Promise<void> {
  if (leavesTransactionOpen(statement)) {
    throw new DbaasError('NOT_SUPPORTED', 'each text is a session of its own here, so a transaction cannot stay open', {
      suggestions: ['write it on one line: begin; …; commit;', 'install postgresql-client: dbaas connect then uses psql'],
    })
  }
  const began = performance.now()
  const result = await client.call('instances.sql', {params: {instance: name}, body: {statement}, idempotencyKey: crypto.randomUUID()})
  const took = interactive && !isMeta ? `${out.dim(formatDuration(performance.now() - began))}\n` : ''
  process.stdout.write(`${renderSql(result, out)}${took}`)
}

function translate(text: string): string {
  const [word = '', argument] = text.replace(/;\s*$/, '').trim().split(/\s+/, 2)
  const command = metaCommands[word.replace(/\+$/, '')]
  if (command !== undefined) return command.statement(argument)
  const near = nearest(word, Object.keys(metaCommands))
  throw new DbaasError('USAGE', `the built-in prompt has no ${word}`, {suggestions: [...(near ? [`did you mean ${near}?`] : []), '\\? lists what there is']})
}

function helpText(paint: Paint): string {
  return renderDetails([
    ...Object.values(metaCommands).map((command) => [command.usage, command.meaning] as const),
    ['\\?', 'this help'],
    ['\\q', 'quit (or Ctrl-D)'],
    ['Ctrl-C', 'forget what was typed'],
  ], paint)
}
