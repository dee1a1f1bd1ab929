/** How MySQL and MariaDB differ, where the code they share asks. One object each: `mysql/dialect.ts`, `mariadb/dialect.ts`. */
import type {Host} from '../host.js'
import type {Layout} from './layout.js'

export interface Dialect {
  readonly engine: 'mysql' | 'mariadb'
  readonly title: string
  readonly serverProgram: string

  /** What the agent sets in each of its sessions, after `set session `. */
  readonly adminSession: string
  /** Everything dynamic or not, as rows of `name` (lower case), `value`, `origin` (see Variable). */
  readonly globalVariables: string
  /** Makes the server read its certificates again. */
  readonly reloadTls: string

  /** Parameters that the agent answers for, with their values: everything that is the same for every instance of a version. */
  managedValues(version: string): Readonly<Record<string, string>>
  /** What an instance has unless its owner says otherwise. */
  readonly ownDefaults: Readonly<Record<string, string>>

  /** Everything that is frozen in a data directory. */
  poolKey(version: string): string
  /**
   * Makes a data directory with the agent's account in it, nobody else's, and an application's that nobody can use yet.
   * The marker and what must be on the disk before it are the caller's. Throws what the program said.
   */
  makeData(host: Host, version: string, layout: Layout): Promise<void>
  /** `identified …` with what the server stores of a password, computed here: no log of the server sees the password. */
  identifiedBy(password: string): Promise<string>
}

/** Where a server has a value from: compiled in, its configuration (file or command line), or set since it runs. */
export interface Variable {
  readonly name: string
  readonly value: string | null
  readonly origin: 'default' | 'configuration' | 'running'
}
