/** Errors of MySQL and MariaDB, from the wire and from the log, as ours. */
import {DbaasError} from '../../core/errors.js'
import {canonicalName, variableOf} from './options.js'

/** An error packet, as the driver gives it. */
interface ServerError extends Error {
  readonly errno: number
  readonly sqlState: string
  readonly sqlMessage: string
}

/** An error that the server itself sent: only those have a number and the server's words. */
export const isServerError = (error: unknown): error is ServerError =>
  error instanceof Error &&
  typeof (error as {errno?: unknown}).errno === 'number' &&
  (error as unknown as {errno: number}).errno > 0 &&
  typeof (error as {sqlMessage?: unknown}).sqlMessage === 'string'

/** The server's number of the error, or undefined. SQLSTATEs are too coarse here: most errors are HY000. */
export const numberOf = (error: unknown): number | undefined => (isServerError(error) ? error.errno : undefined)

/** What a server says of a password's stored form, should it quote one: both kinds of hash. */
const passwordless = (text: string): string =>
  text.replace(/\$A\$[0-9A-F]{3}\$\S*|\*[0-9A-F]{40}/g, (hash) => `${hash.slice(0, hash.startsWith('*') ? 1 : 2)}…`)

/**
 * A statement that failed. The server's words may quote the client's own data and the piece of the statement that it
 * could not read: both are the client's to see.
 */
export function sqlError(error: ServerError): DbaasError {
  const line = /\bat line (\d+)$/.exec(error.sqlMessage)?.[1]
  return new DbaasError('SQL_ERROR', passwordless(error.sqlMessage), {
    details: {
      // an error of the connection's first packet has none
      sqlstate: error.sqlState === '' ? 'HY000' : error.sqlState,
      errno: String(error.errno),
      ...(line === undefined ? {} : {line}),
    },
    cause: error,
    suggestions: line === undefined ? [] : [`look at line ${line} of the statement`],
  })
}

/** Numbers with which a server refuses a connection now, and may accept it later. */
const notNow: Readonly<Record<number, string>> = {
  1040: 'has no free connection left',
  1053: 'is shutting down',
  1203: 'has no free connection left for that account',
  3032: 'is in offline mode',
}

/** Whatever ended a connection, or kept it from being made. `where` is `host:port`. */
export function connectionError(error: unknown, where: string): DbaasError {
  if (error instanceof DbaasError) return error
  const message =
    error instanceof Error && error.message !== '' ? error.message : String((error as {code?: unknown})?.code ?? error)
  const server = isServerError(error) ? error : undefined
  const because = server === undefined ? message : `${notNow[server.errno] ?? 'refuses the connection'}: ${message}`
  return new DbaasError(
    'DATABASE_UNAVAILABLE',
    `the database at ${where} ${server === undefined ? 'cannot be reached: ' : ''}${because}`,
    {
      details: {
        address: where,
        ...(server === undefined ? {} : {sqlstate: server.sqlState || 'HY000', errno: String(server.errno)}),
      },
      suggestions:
        server?.errno === 1040 ? ['close idle connections, or raise max_connections'] : ['dbaas list', 'dbaas doctor'],
      cause: error,
    },
  )
}

interface Failure {
  readonly matches: RegExp
  explain(match: RegExpExecArray, words: string): DbaasError
}

const anyOf = (...patterns: string[]): RegExp => new RegExp(patterns.join('|'), 'i')

const firstGroup = (match: RegExpExecArray): string | undefined => match.slice(1).find((group) => group !== undefined)

/** The variable's name, where the log has that of the option. */
const parameterOf = (option: string): string => {
  const name = canonicalName(option)
  return variableOf(name, (candidate) => candidate !== name) ?? name
}

const notAccepted = (parameter: string, words: string): DbaasError =>
  new DbaasError('INVALID_PARAMETER_VALUE', `the server does not accept its configuration: ${words}`, {
    details: {parameter, server: words},
    suggestions: [`dbaas config unset NAME ${parameter}`],
  })

const failures: readonly Failure[] = [
  {
    matches: anyOf(
      '(?:Bind on TCP/IP port|bind to .*port).*Address already in use',
      'Do you already have another .*server running on port',
    ),
    explain: (_match, words) =>
      new DbaasError('PORT_IN_USE', "the server's port is taken", {
        details: {server: words},
        suggestions: ['stop what listens there, then run the command again', 'dbaas doctor'],
      }),
  },
  {
    matches: anyOf(
      'Cannot allocate memory',
      'Out of memory',
      'mmap\\(.*\\) failed; errno 12',
      '(?:Cannot|Can\'t) (?:map|initialize|create|allocate) .*buffer.pool',
    ),
    explain: (_match, words) =>
      new DbaasError('INSUFFICIENT_MEMORY', 'the server could not get the memory it asks for at its start', {
        details: {server: words},
        suggestions: ['lower innodb_buffer_pool_size or max_connections', 'stop an instance that is not needed'],
      }),
  },
  {
    matches: anyOf('No space left on device', 'Disk quota exceeded', 'Disk (?:is )?full', '\\berr(?:no|or|code)?:? (?:28|122)\\b'),
    explain: (_match, words) =>
      new DbaasError('DISK_FULL', 'the disk of the server is full', {
        details: {server: words},
        suggestions: ['free some space, then run the command again', 'dbaas doctor'],
      }),
  },
  {
    matches: anyOf(
      "unknown variable '([^'=]+)",
      "unknown option '-*([^'=]+)",
      "ambiguous option '-*([^'=]+)",
      "Error while setting value '.*' to '([^']+)'",
      "option '-*([^'=]+)' (?:requires an argument|cannot take an argument)",
      "used for variable '([^']+)'",
    ),
    explain: (match, words) => notAccepted(parameterOf(firstGroup(match) ?? ''), words),
  },
  {
    matches: /unknown default time zone/i,
    explain: (_match, words) => notAccepted('time_zone', words),
  },
  {
    matches: /^Unknown character set|Character set '.*' is not a compiled character set/i,
    explain: (_match, words) => notAccepted('character_set_server', words),
  },
  {
    matches: /^COLLATION '.*' is not valid for CHARACTER SET|^Unknown collation/i,
    explain: (_match, words) => notAccepted('collation_server', words),
  },
  {
    matches: /Found option without preceding group|Wrong group definition|in config file/i,
    explain: (_match, words) =>
      new DbaasError('INVALID_PARAMETER_VALUE', `the server does not accept its configuration: ${words}`, {
        details: {server: words},
        suggestions: ['dbaas config show NAME', 'dbaas logs NAME'],
      }),
  },
  {
    matches: anyOf('Unable to lock \\S+ error: 11', "Can't lock aria control file", 'another (?:mysqld|mariadbd) process'),
    explain: (_match, words) =>
      new DbaasError('SERVER_START_FAILED', 'another server still runs on the same data', {
        details: {server: words},
        suggestions: ['dbaas stop NAME, then dbaas start NAME', 'dbaas doctor'],
      }),
  },
  {
    matches: anyOf('SSL error: ', 'Failed to set ?up SSL', 'Unable to get (?:certificate|private key)'),
    explain: (_match, words) =>
      new DbaasError('SERVER_START_FAILED', `the server cannot use its certificate: ${words}`, {
        details: {server: words},
        suggestions: ['dbaas restart NAME', 'dbaas doctor'],
      }),
  },
  {
    matches: anyOf(
      'Permission denied',
      '\\berr(?:no|or|code)?:? 13\\b',
      'must be writable',
      "Can't (?:change dir to|get stat of|create/write to file)",
      '(?:Could not|Failed to) open required defaults file',
    ),
    explain: (_match, words) =>
      new DbaasError('SERVER_START_FAILED', `the server may not use its own files, or misses some: ${words}`, {
        details: {server: words},
        suggestions: ["give the files back to the server's user", 'dbaas doctor'],
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
      'Invalid MySQL server (?:down|up)grade',
      'Cannot (?:boot|upgrade|downgrade) server',
      '(?:Up|Down)grade .*not (?:supported|possible)',
      'Unsupported redo log format',
      'redo log was created (?:with|by)',
    ),
    explain: (_match, words) =>
      new DbaasError('SERVER_START_FAILED', `the data is of another version than the server: ${words}`, {
        details: {server: words},
        suggestions: ['dbaas engines list', 'dbaas logs NAME'],
      }),
  },
  {
    matches: anyOf(
      'corrupt',
      'checksum mismatch',
      'Invalid (?:flags|log block|log header|page)',
      'Missing (?:FILE_CHECKPOINT|MLOG_)',
      'Failed to find valid data directory',
      'Neither found #innodb_redo',
      '(?:ib_logfile|ibdata|undo).* (?:was not found|exists)',
      "File \\S+: 'open' returned OS error",
      '(?:Cannot|Could not|Can\'t) (?:open|read|find) .*(?:datafile|tablespace file|\\.ibd|mysql\\.)',
      "Table 'mysql\\.[a-z_]+' doesn't exist",
    ),
    explain: (_match, words) =>
      new DbaasError('SERVER_START_FAILED', `the data cannot be opened: ${words}`, {
        details: {server: words},
        suggestions: ['dbaas logs NAME', 'dbaas doctor'],
      }),
  },
]

/** `2026-11-23T19:41:14.211123Z 0 [ERROR] [MY-010119] [Server] words`, and MariaDB's `2026-11-24  7:39:21 0 [ERROR] words`. */
const logMessage = /^\d{4}-\d\d-\d\d[T ]\s?\d{1,2}:\d\d:\d\d\S* \d+ \[(\w+)\](?: \[MY-\d+\])?(?: \[[A-Za-z_ ]+\])? (.*)$/

/** What stands before the words: the program's name or path, and what was said before there was a log to say it in. */
const speaker = /^(?:Buffered \w+: )?(?:\S*\b(?:mysqld|mariadbd): )?(?:\[\w+\] )?/

/** Words that end no start. */
const harmless = /\/dev\/stderr|^Can't find error-message file/
/** Words that only repeat that it ended. */
const empty = anyOf(
  '^Aborting$',
  "^Plugin '\\S+' (?:init function returned error|registration as a STORAGE ENGINE failed)",
  'Plugin initialization aborted with error Generic error',
  '^Unknown/unsupported storage engine: InnoDB',
  '^Failed to initialize ',
  '^Data Dictionary initialization failed',
  '^Fatal error in defaults handling',
  '^Operating system error number',
  '^The error means',
)

/** The lines that may hold the reason, most telling first: what ended the server, then what it complained about. */
function reasons(log: string): string[] {
  const lines = log.split(/\r?\n/).flatMap((line) => {
    const match = logMessage.exec(line)
    const words = (match?.[2] ?? line).trim().replace(speaker, '')
    // what was said without a log, by the server or by the loader, has no severity
    return words === '' || harmless.test(words) ? [] : [{severity: (match?.[1] ?? 'plain').toLowerCase(), words}]
  })
  const of = (...severities: string[]): string[] =>
    lines.filter(({severity}) => severities.includes(severity)).map(({words}) => words)
  const all = [...of('error'), ...of('plain'), ...of('warning'), ...of('note', 'system')]
  return [...all.filter((words) => !empty.test(words)), ...all.filter((words) => empty.test(words))]
}

/** What the end of the log says about a start that failed. Only the last start in `log` should be in it. */
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
