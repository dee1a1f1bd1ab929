/**
 * What of an official tarball a server does without: its own test suite, what is for building programs against it,
 * manuals, and second copies of its programs with debugging information. MySQL's and MariaDB's tarballs are mostly that.
 */
const folders = new Set([
  'mysql-test', 'mariadb-test', 'sql-bench', 'include', 'man', 'doc', 'docs', 'symbols', 'debug', 'pkgconfig', 'pgAdmin 4', 'StackBuilder',
])
/** Static libraries, separate debugging information, and programs such as `mysqld-debug`. */
const files = /(\.a|\.la|\.debug|-debug)$/
/** Programs of the test suite, which MySQL keeps among the others and with a client inside each. */
const testPrograms = /^(mysqltest|mysql_client_test|mariadb-test|mariadb-client-test|mysqltest_embedded|mysqlxtest|mariadb-embedded|mysql_embedded)(_|-|$)/

/** `path` is within the archive, its segments between slashes. */
export function isKept(path: string): boolean {
  const segments = path.split('/').filter((segment) => segment !== '' && segment !== '.')
  const name = segments.pop() ?? ''
  if (segments.some((segment) => folders.has(segment))) return false
  return !files.test(name) && !testPrograms.test(name)
}
