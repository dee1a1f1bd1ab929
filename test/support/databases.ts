/** Real servers of MySQL and MariaDB for the process runtime: folders and tarballs laid out as the official ones. */
import {existsSync} from 'node:fs'
import {dirname, join} from 'node:path'
import {madeBySite, needOrSkip} from './need.js'

export interface Distribution {
  /** An unpacked tarball: bin, lib, share. Not to be written to. */
  readonly folder: string
  /** The same as .tar.xz or .tar.gz, under its official name. */
  readonly tarball: string
  /** Checksums of the tarball, as sha256sum writes them. */
  readonly sums: string
}

function distribution(engine: 'mysql' | 'mariadb'): Distribution {
  const tarball = madeBySite(engine, 'tarball')
  return {folder: madeBySite(engine, 'folder'), tarball, sums: join(dirname(tarball), 'sha256sums.txt')}
}

/** The suite needs a MySQL. To be called first in a `describe`. */
export function mysqlOrSkip(): Distribution {
  needOrSkip(() => (existsSync(madeBySite('mysql', 'folder', 'bin', 'mysqld')) ? undefined : 'there is no MySQL to test with: scripts/site/mysql.sh'))
  return distribution('mysql')
}

/** The suite needs a MariaDB. To be called first in a `describe`. */
export function mariadbOrSkip(): Distribution {
  needOrSkip(() => (existsSync(madeBySite('mariadb', 'folder', 'bin', 'mariadbd')) ? undefined : 'there is no MariaDB to test with: scripts/site/mariadb.sh'))
  return distribution('mariadb')
}

/** The suite needs a MariaDB that the machine's package manager installed. */
export function systemMariadbOrSkip(): string {
  const path = '/usr/sbin/mariadbd'
  needOrSkip(() => (existsSync(path) ? undefined : `there is no ${path}: apt-get install mariadb-server-core mariadb-client-core`))
  return path
}
