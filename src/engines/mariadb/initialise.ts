import {DbaasError} from '../../core/errors.js'
import type {Host} from '../host.js'
import {adminAccount} from '../mysql-family/client.js'
import type {Dialect} from '../mysql-family/dialect.js'
import {
  applicationAccount,
  applicationDatabase,
  check,
  databaseAttributes,
  layoutNumber,
  programEnv,
  subjectOf,
} from '../mysql-family/initialise.js'
import {systemTables} from '../mysql-family/layout.js'

/** A release may change the system tables, and does not upgrade older ones when it starts. */
export const poolKey: Dialect['poolKey'] = (version) => `mariadb-${version}-layout-${layoutNumber}`

/** What `mariadb-install-db` runs, in its order; each has its old name up to version 10. */
const scripts = [
  systemTables,
  ['mariadb_performance_tables.sql', 'mysql_performance_tables.sql'],
  ['mariadb_system_tables_data.sql', 'mysql_system_tables_data.sql'],
  ['fill_help_tables.sql'],
  ['maria_add_gis_sp_bootstrap.sql'],
  ['mariadb_sys_schema.sql', 'mysql_sys_schema.sql'],
] as const

/** The account that owns the views of the system tables: locked, and without a privilege beyond them. */
const ownerOfViews = 'mariadb.sys'

/** One statement a line. Of the accounts that the scripts make (`root`, in some versions anonymous ones) none is left. */
const statements = [
  `DELETE FROM mysql.global_priv WHERE User <> '${ownerOfViews}'`,
  'DELETE FROM mysql.proxies_priv',
  'DELETE FROM mysql.db',
  // statements about accounts work from here on
  'FLUSH PRIVILEGES',
  `CREATE USER '${adminAccount}'@'%' REQUIRE SUBJECT '${subjectOf(adminAccount)}'`,
  `GRANT ALL PRIVILEGES ON *.* TO '${adminAccount}'@'%' WITH GRANT OPTION`,
  `CREATE DATABASE ${applicationDatabase} ${databaseAttributes}`,
  // nobody can log in as the application until it is granted a password
  `CREATE USER '${applicationAccount}'@'%' REQUIRE SSL ACCOUNT LOCK`,
]
  .map((statement) => `${statement};\n`)
  .join('')

async function script(host: Host, folder: string, names: readonly string[]): Promise<Buffer> {
  for (const name of names) {
    const found = await host.read(`${folder}/${name}`)
    if (found !== undefined) return Buffer.concat([found, Buffer.from('\n')])
  }
  throw missing(`${folder}/${names[0]}`)
}

const missing = (what: string): DbaasError =>
  new DbaasError('COMMAND_FAILED', `the installation of MariaDB lacks ${what}, which makes the system tables`, {
    suggestions: ['install the whole server package', 'dbaas engines list'],
  })

export const makeData: Dialect['makeData'] = async (host, _version, layout) => {
  const folder = layout.scripts
  if (folder === undefined) throw missing(`${layout.base}/share/${systemTables[0]}`)
  const texts: Buffer[] = []
  for (const names of scripts) texts.push(await script(host, folder, names))
  check(
    await host.exec(
      [
        `${host.paths.bin}/mariadbd`,
        '--no-defaults',
        '--bootstrap',
        `--datadir=${host.paths.data}`,
        `--basedir=${layout.base}`,
        ...(layout.messages === undefined ? [] : [`--lc-messages-dir=${layout.messages}`]),
        ...(layout.characterSets === undefined ? [] : [`--character-sets-dir=${layout.characterSets}`]),
        ...(layout.plugins === undefined ? [] : [`--plugin-dir=${layout.plugins}`]),
        `--tmpdir=${host.paths.tmp}`,
        // as mariadb-install-db has them
        '--enforce-storage-engine=',
        '--max-allowed-packet=8M',
        '--net-buffer-length=16K',
        '--log-warnings=0',
        '--silent-startup',
        // it ends with everything on disk; that alone is waited for
        '--innodb-flush-log-at-trx-commit=0',
        '--skip-sync-frm',
        '--character-set-server=utf8mb4',
      ],
      {
        env: programEnv,
        stdin: ['CREATE DATABASE mysql;\nUSE mysql;\n', ...texts.map((text) => text.toString('utf8')), statements].join(''),
      },
    ),
    'mariadbd --bootstrap',
  )
}
