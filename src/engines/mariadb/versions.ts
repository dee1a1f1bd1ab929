import type {EngineVersions} from '../engine.js'
import {isOfSeries, reaches} from '../mysql-family/series.js'

/** The long-term series that can be run, newest first. Tried on real servers: 10.11. The others follow the manual. */
const series = ['11.8', '11.4', '10.11']

/** What a server can do, by the first series that can. All by the manual but for what 10.11 was seen to do. */
const capabilities = {
  /** `--init-rpl-role=SLAVE` cuts off what a crashed primary had not yet sent (MDEV-33465). */
  'truncates-unsent-tail': '10.11',
  /** `max_binlog_total_size` bounds what the binary logs take together. */
  'binlog-total-size': '11.4',
  /** `create table … (v vector(3))`. */
  vector: '11.8',
} as const satisfies Record<string, string>

type Capability = keyof typeof capabilities

export const can = (version: string, capability: Capability): boolean => reaches(version, capabilities[capability])

const archive = 'https://archive.mariadb.org'

export const versions: EngineVersions = {
  default: '11',

  known: () => [],

  supports: (version) => isOfSeries(version, series),

  has: (version, capability) => Object.hasOwn(capabilities, capability) && can(version, capability as Capability),

  systemFolders: [
    '/usr/sbin',
    '/usr/libexec',
    '/usr/local/mariadb/bin',
    '/usr/local/mariadb-*/bin',
    '/usr/local/mysql/bin',
    '/opt/mariadb*/bin',
    '/opt/mariadb/*/bin',
    '/opt/homebrew/opt/mariadb/bin',
    '/opt/homebrew/opt/mariadb@*/bin',
    '/usr/local/opt/mariadb/bin',
    '/usr/local/opt/mariadb@*/bin',
    '/home/linuxbrew/.linuxbrew/opt/mariadb/bin',
    '/home/linuxbrew/.linuxbrew/opt/mariadb@*/bin',
  ],
  serverProgram: 'mariadbd',

  installHints: [
    'apt-get install mariadb-server-core, or the package of your system: it is found by itself',
    `dbaas engines install mariadb@11.4 --from ${archive}/mariadb-11.4.9/bintar-linux-systemd-x86_64/mariadb-11.4.9-linux-systemd-x86_64.tar.gz`,
  ],

  /** `mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)` -> `10.11.19`. */
  parseVersion: (output) => /^.*\b(?:mariadbd|mysqld)\S*\s+Ver (\d+\.\d+\.\d+)-MariaDB\S* for /m.exec(output)?.[1],
}
