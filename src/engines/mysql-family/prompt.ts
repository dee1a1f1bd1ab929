/** MySQL and MariaDB at the command line: what both have in common, which is nearly everything. */
import {access as accessFile, constants, realpath} from 'node:fs/promises'
import {homedir} from 'node:os'
import {dirname, join} from 'node:path'
import {DbaasError} from '../../core/errors.js'
import type {Access, ClientProgram, ClientStart, EnginePrompt, MetaCommand, PromptWords, Route} from '../prompt.js'
import {hostList, hostsOf, queryOf, userInfo} from '../prompt.js'

/**
 * `ssl-mode` and `ssl-ca` are MySQL's own words for URIs (MySQL Shell, MariaDB Shell, sqlx and others read them). None
 * of its drivers has a word for a session that only reads.
 */
export function uri(access: Access, route: Route): string {
  if (route.readOnly) {
    throw new DbaasError('NOT_SUPPORTED', 'no mysql:// URL can make a session read-only: drivers know no such option', {
      suggestions: ['--format jdbc', 'begin the session with: SET SESSION TRANSACTION READ ONLY'],
    })
  }
  const query = queryOf([['ssl-mode', 'VERIFY_IDENTITY'], ['ssl-ca', route.caFile]])
  return `mysql://${userInfo(access)}@${hostList(access, route)}/${encodeURIComponent(access.database)}?${query}`
}

/**
 * Clients read `my.cnf` in the folder MYSQL_HOME, also those that a program runs in its turn (mysqldump): so that none
 * of them connects without checking the certificate, and none needs to be told who it is. No secret is in it. MySQL's
 * take `ssl-ca` alone for VERIFY_CA.
 */
const optionFile = ({username, database}: Access, caFile: string): string => [
  '[client]', `user=${optionQuoted(username)}`, `ssl-ca=${optionQuoted(caFile)}`,
  '[client-mariadb]', 'ssl-verify-server-cert',
  '[mysql]', `database=${optionQuoted(database)}`, '',
].join('\n')

export async function environment(access: Access, route: Route): Promise<Record<string, string>> {
  if (route.readOnly) uri(access, route)
  const {host, port} = hostsOf(access, route)[0] as Access['direct'][number]
  const kept = await route.keep('my.cnf', optionFile(access, route.caFile))
  return {
    MYSQL_HOST: host,
    MYSQL_TCP_PORT: String(port),
    MYSQL_USER: access.username,
    MYSQL_PWD: access.password,
    MYSQL_DATABASE: access.database,
    // what the official images and many programs call the same
    MYSQL_PORT: String(port),
    MYSQL_PASSWORD: access.password,
    MYSQL_SSL_MODE: 'VERIFY_IDENTITY',
    MYSQL_SSL_CA: route.caFile,
    MYSQL_HOME: kept.slice(0, -'/my.cnf'.length),
  }
}

const isReadable = (path: string): Promise<boolean> => accessFile(path, constants.R_OK).then(() => true, () => false)

/** A value of an option file: in double quotes, with its escapes. */
const optionQuoted = (value: string): string =>
  `"${value.replace(/["\\\n\r\t\b]/g, (c) => ({'"': '\\"', '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t', '\b': '\\b'})[c] as string)}"`

/**
 * Everything is in a file of the client's own format, the password as well. It begins with the user's own file, so that
 * a prompt or a pager set there holds; what follows wins.
 */
async function start(access: Access, route: Route, program: ClientProgram): Promise<ClientStart> {
  const {host, port} = hostsOf(access, route)[0] as Access['direct'][number]
  const isMariadb = /mariadb/i.test(await program.version())
  const own = join(homedir(), '.my.cnf')
  // MySQL's client has MariaDB's way to sign in as a plugin, which it looks for where it was built to be
  const plugins = join(dirname(await realpath(program.path).catch(() => program.path)), '..', 'lib', 'plugin')
  const secret = [
    ...(await isReadable(own) ? [`!include ${own}`] : []),
    '[client]', ...(!isMariadb && await isReadable(plugins) ? [`plugin-dir=${optionQuoted(plugins)}`] : []),
    'protocol=tcp', `host=${optionQuoted(host)}`, `port=${port}`, `user=${optionQuoted(access.username)}`,
    `password=${optionQuoted(access.password)}`, `ssl-ca=${optionQuoted(route.caFile)}`,
    isMariadb ? 'ssl-verify-server-cert' : 'ssl-mode=VERIFY_IDENTITY',
    '[mysql]', `database=${optionQuoted(access.database)}`, '',
  ].join('\n')
  // a login path would be read after every file
  return {secret, args: (file) => [`--defaults-file=${file}`], env: {MYSQL_TEST_LOGIN_FILE: '/dev/null'}}
}

const literal = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`

const tables = (types: string): string => `select table_name as name, lower(table_type) as type, engine as engine, table_rows as approximate_rows,
  concat(round((data_length + index_length) / 1024), ' kB') as size
from information_schema.tables where table_schema = database() and table_type in (${types}) order by 1`

/** Columns, then indexes and constraints, one row each; `db.table` means another database. */
function describe(name: string): string {
  const [table = '', schema] = name.replaceAll('`', '').split('.').reverse()
  const where = `table_schema = ${schema === undefined ? 'database()' : literal(schema)} and table_name = ${literal(table)}`
  return `select name, type, details from (
  select 1 as part, ordinal_position as place, column_name as name, column_type as type,
    concat_ws(' ', if(is_nullable = 'NO', 'not null', null), nullif(extra, ''), if(column_default is null, null, concat('default ', column_default))) as details
  from information_schema.columns where ${where}
  union all
  select 2, 0, index_name, if(max(non_unique) = 0, 'unique index', 'index'), group_concat(column_name order by seq_in_index separator ', ')
  from information_schema.statistics where ${where} group by index_name
  union all
  select 3, 0, constraint_name, 'foreign key', group_concat(column_name, ' -> ', referenced_table_name, '.', referenced_column_name separator ', ')
  from information_schema.key_column_usage where ${where} and referenced_table_name is not null group by constraint_name
) as parts order by part, place, name`
}

const commands: Readonly<Record<string, MetaCommand>> = {
  '\\d': {
    usage: '\\d [NAME]', meaning: 'tables and views; or the columns, indexes and foreign keys of one',
    statement: (name) => (name === undefined ? tables("'BASE TABLE', 'VIEW'") : describe(name)),
  },
  '\\dt': {usage: '\\dt', meaning: 'tables', statement: () => tables("'BASE TABLE'")},
  '\\dv': {usage: '\\dv', meaning: 'views', statement: () => tables("'VIEW'")},
  '\\l': {usage: '\\l', meaning: 'databases', statement: () => 'show databases'},
  '\\du': {
    usage: '\\du', meaning: 'the user and what it may do',
    // not `show grants`, which tells MariaDB's hash of the password
    statement: () => `select current_user() as user, table_schema as on_database, group_concat(lower(privilege_type) order by 1 separator ', ') as may
from information_schema.schema_privileges where grantee = concat('''', replace(current_user(), '@', '''@'''), '''') group by table_schema`,
  },
  '\\s': {
    usage: '\\s', meaning: 'the server, the session, and its encryption (also: status)',
    statement: () => `select 'server' as what, concat(@@version_comment, ' ', @@version) as value
union all select 'user', current_user() union all select 'database', database()
union all select 'character set', @@character_set_connection union all select 'time zone', @@session.time_zone
union all select 'sql mode', @@sql_mode`,
  },
}

export const words: PromptWords = {
  // a backslash escapes in texts, not in names; comments do not nest; `--` needs a space
  lexis: {
    quotes: '\'"`', escapes: `'"`, escapePrefix: false, dollarQuotes: false, nestedComments: false, hashComments: true, dashesNeedSpace: true,
    backslashG: true,
  },
  commands,
  bare: {status: '\\s', help: '\\?', use: '\\u', source: '\\.'},
  unavailable: {
    '\\u': 'each statement is a session of its own here: write DATABASE.TABLE',
    '\\.': 'dbaas sql NAME - < FILE',
    '\\!': 'run it in another terminal',
  },
  delimiter: true,
  needsSession: (text) => /^\s*(?:begin\s*(?:work\s*)?;|start\s+transaction\b)/i.test(text) && !/\b(?:commit|rollback)\b[^;]*;\s*$/i.test(text),
}

/** What is in the way of an environment that leads to one server. */
const misleading = ['MYSQL_UNIX_PORT', 'MYSQL_GROUP_SUFFIX', 'MYSQL_TEST_LOGIN_FILE', 'MARIADB_HOME']

export function familyPrompt(title: string, programs: readonly string[], jdbc: EnginePrompt['jdbc']): EnginePrompt {
  return {title, uri, jdbc, environment, misleading, client: {programs, package: 'mariadb-client', start}, words}
}
