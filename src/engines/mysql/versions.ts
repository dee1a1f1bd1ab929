import type {EngineVersions} from '../engine.js'
import {isOfSeries, reaches} from '../mysql-family/series.js'

/** The series that can be run, newest first. Tried on real servers: 9.7. The others follow the manual. */
const series = ['9.7', '9.6', '9.5', '9.4', '9.3', '9.2', '9.1', '9.0', '8.4']

/** What a server can do, by the first series that can. All by the manual but for what 9.7 was seen to do. */
const capabilities = {
  /** Semi-synchronous replication, clone and GTIDs under the names that have no slaves and masters in them. */
  'replica-words': '8.4',
  clone: '8.4',
  /** `performance_schema.variables_metadata`: type, range and description of each variable. */
  'variables-metadata': '9.0',
  /** `create table … (v vector(3))`. */
  vector: '9.0',
} as const satisfies Record<string, string>

type Capability = keyof typeof capabilities

export const can = (version: string, capability: Capability): boolean => reaches(version, capabilities[capability])

const download = 'https://dev.mysql.com/get/Downloads'

export const versions: EngineVersions = {
  /** The long-term series. */
  default: '8.4',

  known: () => [],

  supports: (version) => isOfSeries(version, series),

  has: (version, capability) => Object.hasOwn(capabilities, capability) && can(version, capability as Capability),

  systemFolders: [
    '/usr/sbin',
    '/usr/libexec',
    '/usr/local/mysql/bin',
    '/usr/local/mysql-*/bin',
    '/opt/mysql*/bin',
    '/opt/mysql/*/bin',
    '/opt/homebrew/opt/mysql/bin',
    '/opt/homebrew/opt/mysql@*/bin',
    '/usr/local/opt/mysql/bin',
    '/usr/local/opt/mysql@*/bin',
    '/home/linuxbrew/.linuxbrew/opt/mysql/bin',
    '/home/linuxbrew/.linuxbrew/opt/mysql@*/bin',
  ],
  serverProgram: 'mysqld',

  installHints: [
    'apt-get install mysql-server-core-8.4, or the package of your system: it is found by itself',
    `dbaas engines install mysql@8.4 --from ${download}/MySQL-8.4/mysql-8.4.7-linux-glibc2.28-x86_64.tar.xz --checksum sha256:HEX`,
  ],

  /**
   * `mysqld  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server - GPL)` -> `8.4.3`. Not MariaDB, to which `mysqld`
   * is a link on some machines; not Percona Server, which nobody has tried here; no release candidate.
   */
  parseVersion: (output) =>
    /MariaDB|Percona/i.test(output)
      ? undefined
      : /^.*\bmysqld\S*\s+Ver (\d+\.\d+\.\d+)(?:-\d\S*|-commercial|-cluster)? for /m.exec(output)?.[1],
}
