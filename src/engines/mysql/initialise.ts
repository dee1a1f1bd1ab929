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

/** Every release may change the dictionary and the system tables, and upgrades older ones when it starts. */
export const poolKey: Dialect['poolKey'] = (version) => `mysql-${version}-layout-${layoutNumber}`

/** Tables that name the account which an initialisation makes: the superuser, with every privilege there is. */
const superuserIn = ['mysql.user', 'mysql.global_grants', 'mysql.proxies_priv', 'mysql.db', 'mysql.tables_priv']

/**
 * One statement a line, as `init_file` reads them. No statements about accounts are accepted here, so that the rows are
 * written themselves: `root` becomes the agent, who has a certificate and no password, from any address. Nobody can
 * log in as the application until it is granted a password.
 */
const statements = [
  ...superuserIn.map((table) => `UPDATE ${table} SET User = '${adminAccount}', Host = '%' WHERE User = 'root'`),
  `UPDATE mysql.user SET ssl_type = 'SPECIFIED', x509_subject = '${subjectOf(adminAccount)}' WHERE User = '${adminAccount}'`,
  `CREATE DATABASE ${applicationDatabase} ${databaseAttributes}`,
  'INSERT INTO mysql.user (Host, User, ssl_type, ssl_cipher, x509_issuer, x509_subject, plugin, authentication_string, ' +
    `account_locked) VALUES ('%', '${applicationAccount}', 'ANY', '', '', '', 'caching_sha2_password', '', 'Y')`,
]
  .map((statement) => `${statement};\n`)
  .join('')

/** What every server of the same data would share, and must not: its identity, and keys that it makes by itself. */
const foreign = ['auto.cnf', 'private_key.pem', 'public_key.pem']

export const makeData: Dialect['makeData'] = async (host, _version, layout) => {
  const file = `${host.paths.tmp}/initialise.sql`
  await host.write({path: file, content: statements})
  try {
    check(
      await host.exec(
        [
          `${host.paths.bin}/mysqld`,
          '--no-defaults',
          '--initialize-insecure',
          `--init-file=${file}`,
          `--datadir=${host.paths.data}`,
          `--basedir=${layout.base}`,
          ...(layout.messages === undefined ? [] : [`--lc-messages-dir=${layout.messages}`]),
          `--tmpdir=${host.paths.tmp}`,
          '--auto-generate-certs=OFF',
          // it ends with everything on disk; that alone is waited for
          '--innodb-flush-log-at-trx-commit=0',
          '--character-set-server=utf8mb4',
        ],
        {env: programEnv},
      ),
      'mysqld --initialize',
    )
  } finally {
    await host.remove(file)
  }
  for (const name of foreign) await host.remove(`${host.paths.data}/${name}`)
}
