/** PostgreSQL's errors, from the wire and from the log, as ours. */
import {DbaasError} from '../../core/errors.js'

/** The fields of an ErrorResponse message that are kept, as `pg` names them. */
interface ServerError extends Error {
  readonly code: string
  readonly severity?: string
  readonly position?: string
  readonly detail?: string
  readonly hint?: string
  readonly where?: string
  readonly schema?: string
  readonly table?: string
  readonly column?: string
  readonly constraint?: string
}

/** An error that the server itself sent: only those have a SQLSTATE. */
export const isServerError = (error: unknown): error is ServerError =>
  error instanceof Error &&
  /^[0-9A-Z]{5}$/.test(String((error as {code?: unknown}).code ?? '')) &&
  (error as {severity?: unknown}).severity !== undefined

/** SQLSTATE of the server's error, or undefined. */
export const sqlstateOf = (error: unknown): string | undefined => (isServerError(error) ? error.code : undefined)

const passwordless = (text: string): string => text.replace(/SCRAM-SHA-256\$\S+/g, 'SCRAM-SHA-256$…')

/**
 * A statement that failed. The server's `detail` may quote the client's own data, which is the client's to see; the
 * statement itself is never in it (DECISIONS.md 4).
 */
export function sqlError(error: ServerError): DbaasError {
  const details: Record<string, string> = {sqlstate: error.code}
  for (const key of ['position', 'hint', 'detail', 'where', 'schema', 'table', 'column', 'constraint'] as const) {
    const value = error[key]
    if (value !== undefined && value !== '') details[key] = passwordless(value)
  }
  return new DbaasError('SQL_ERROR', passwordless(error.message), {
    details,
    cause: error,
    suggestions: [
      ...(error.hint ? [error.hint] : []),
      ...(error.position ? [`look at character ${error.position} of the statement`] : []),
    ],
  })
}

/** SQLSTATEs with which a server refuses a connection now, and may accept it later. */
const notNow: Readonly<Record<string, string>> = {
  '57P03': 'is starting up or shutting down',
  '57P01': 'is shutting down',
  '57P02': 'is recovering from a crash',
  '53300': 'has no free connection left',
}

/** Whatever ended a connection, or kept it from being made. `where` is `host:port`. */
export function connectionError(error: unknown, where: string): DbaasError {
  if (error instanceof DbaasError) return error
  const message =
    error instanceof Error && error.message !== '' ? error.message : String((error as {code?: unknown})?.code ?? error)
  const sqlstate = sqlstateOf(error)
  const because = sqlstate === undefined ? message : `${notNow[sqlstate] ?? 'refuses the connection'}: ${message}`
  return new DbaasError(
    'DATABASE_UNAVAILABLE',
    `the database at ${where} ${sqlstate === undefined ? 'cannot be reached: ' : ''}${because}`,
    {
      details: {address: where, ...(sqlstate === undefined ? {} : {sqlstate})},
      suggestions:
        sqlstate === '53300' ? ['close idle connections, or raise max_connections'] : ['dbaas list', 'dbaas doctor'],
      cause: error,
    },
  )
}

/** A command of the replication protocol that failed: by the connection's fault (classes 08, 53, 57; a busy slot), or its own. */
export const commandError = (error: ServerError, where: string): DbaasError =>
  /^(?:08|53|57|55006)/.test(error.code) ? connectionError(error, where) : sqlError(error)

/** What a log line says, whatever its prefix: severity and message. */
const logMessage = /\b(LOG|WARNING|ERROR|FATAL|PANIC|HINT|DETAIL|CONTEXT):\s{1,2}(.*)$/

interface Failure {
  readonly matches: RegExp
  explain(match: RegExpExecArray, words: string): DbaasError
}

const anyOf = (...patterns: string[]): RegExp => new RegExp(patterns.join('|'), 'i')

const failures: readonly Failure[] = [
  {
    matches: /could not bind [^:]*address "([^"]+)": Address already in use|could not create any TCP\/IP sockets/i,
    explain: (match, words) =>
      new DbaasError('PORT_IN_USE', `the server's port is taken${match[1] ? ` on ${match[1]}` : ''}`, {
        details: {server: words},
        suggestions: ['stop what listens there, then run the command again', 'dbaas doctor'],
      }),
  },
  {
    matches: anyOf(
      'could not map anonymous shared memory',
      'could not (?:create|resize) shared memory segment.*(?:Cannot allocate|No space)',
      'out of memory',
      'Cannot allocate memory',
    ),
    explain: (_match, words) =>
      new DbaasError('INSUFFICIENT_MEMORY', 'the server could not get the memory it asks for at its start', {
        details: {server: words},
        suggestions: ['lower shared_buffers or max_connections', 'stop an instance that is not needed'],
      }),
  },
  {
    matches: /No space left on device|Disk quota exceeded/i,
    explain: (_match, words) =>
      new DbaasError('DISK_FULL', 'the disk of the server is full', {
        details: {server: words},
        suggestions: ['free some space, then run the command again', 'dbaas doctor'],
      }),
  },
  {
    // not the notes of a reload (`parameter "x" changed to`, `cannot be changed without restarting`): they end nothing
    matches: anyOf(
      '(?:invalid value|outside the valid range) for parameter "([^"]+)"',
      'unrecognized configuration parameter "([^"]+)"',
      'parameter "([^"]+)" (?:requires|cannot be changed(?! without))',
    ),
    explain: (match, words) => {
      const parameter =
        match
          .slice(1)
          .find((name) => name !== undefined)
          ?.toLowerCase() ?? ''
      return new DbaasError('INVALID_PARAMETER_VALUE', `the server does not accept its configuration: ${words}`, {
        details: {parameter, server: words},
        suggestions: [`dbaas config unset NAME ${parameter}`],
      })
    },
  },
  {
    matches: /configuration file "[^"]*" contains errors|must be less than|syntax error in file/i,
    explain: (_match, words) =>
      new DbaasError('INVALID_PARAMETER_VALUE', `the server does not accept its configuration: ${words}`, {
        details: {server: words},
        suggestions: ['dbaas config show NAME', 'dbaas logs NAME'],
      }),
  },
  {
    matches: /lock file "([^"]+)" already exists|pre-existing shared memory block .* is still in use/i,
    explain: (_match, words) =>
      new DbaasError('SERVER_START_FAILED', 'another server still runs on the same data', {
        details: {server: words},
        suggestions: ['dbaas stop NAME, then dbaas start NAME', 'dbaas doctor'],
      }),
  },
  {
    matches:
      /has wrong ownership|has invalid permissions|Permission denied|has group or world access|must be owned by/i,
    explain: (_match, words) =>
      new DbaasError('SERVER_START_FAILED', `the server may not use its own files: ${words}`, {
        details: {server: words},
        suggestions: ["give the files back to the server's user", 'dbaas doctor'],
      }),
  },
  {
    matches: /could not look up effective user ID (\d+): user does not exist/i,
    explain: ([, uid], words) =>
      new DbaasError('NOT_SUPPORTED', `PostgreSQL runs only as a user whom the system knows, and it knows no user ${uid}`, {
        details: {server: words},
        suggestions: [`add user ${uid} to /etc/passwd, or run as another`, '--runtime docker'],
      }),
  },
  {
    matches: /error while loading shared libraries: (\S+?):|cannot execute|GLIBC_\S+' not found/i,
    explain: (_match, words) =>
      new DbaasError('SERVER_START_FAILED', `the programs of the server do not run on this machine: ${words}`, {
        details: {server: words},
        suggestions: ['dbaas engines list', 'dbaas doctor'],
      }),
  },
  {
    matches: anyOf(
      'database files are incompatible with server',
      'was initialized (?:by PostgreSQL version|with)',
      'could not locate a valid checkpoint record|invalid checkpoint record',
      'incorrect checksum in control file',
    ),
    explain: (_match, words) =>
      new DbaasError('SERVER_START_FAILED', `the data cannot be opened: ${words}`, {
        details: {server: words},
        suggestions: ['dbaas logs NAME', 'dbaas doctor'],
      }),
  },
]

/** What a server writes last when it ends in order, and also after a start that failed. */
const ending = /database system is shut down/

/** Without what earlier servers on the same data wrote: they ended sessions, and said so. */
function lastStart(lines: readonly string[]): readonly string[] {
  const end = lines.findLastIndex((line) => !ending.test(line)) + 1
  return lines.slice(lines.slice(0, end).findLastIndex((line) => ending.test(line)) + 1)
}

/** The lines that may hold the reason, most telling first: what ended the server, then what it complained about. */
function reasons(log: string): string[] {
  const lines = lastStart(log.split(/\r?\n/).filter((line) => line.trim() !== ''))
  const bySeverity = (severities: readonly string[]): string[] =>
    lines.flatMap((line) => {
      const match = logMessage.exec(line)
      return match && severities.includes(match[1] as string) ? [(match[2] as string).trim()] : []
    })
  // the server's own complaint about the command line or a combination has no severity: `postgres: "a" must be …`
  const plain = lines.flatMap(
    (line) => /^(?:\S*\/)?postgres: (.*)$/.exec(line)?.[1] ?? (logMessage.test(line) ? [] : [line.trim()]),
  )
  return [...bySeverity(['FATAL', 'PANIC']), ...plain, ...bySeverity(['ERROR', 'WARNING', 'LOG', 'DETAIL'])]
}

/** What the end of the log says about a start that failed. */
export function explainFailure(log: string): DbaasError {
  const words = reasons(log)
  for (const failure of failures) {
    for (const line of words) {
      const match = failure.matches.exec(line)
      if (match) return failure.explain(match, line)
    }
  }
  const last = words[0]
  return new DbaasError(
    'SERVER_START_FAILED',
    last === undefined ? 'the server ended without a word in its log' : `the server did not start: ${last}`,
    {
      ...(last === undefined ? {} : {details: {server: last}}),
      suggestions: ['dbaas logs NAME', 'dbaas doctor'],
    },
  )
}
