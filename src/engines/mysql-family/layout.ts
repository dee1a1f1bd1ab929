/** Where an installation keeps what its server needs beside the program: an official archive, a distribution, an image. */
import type {Host} from '../host.js'

export interface Layout {
  /** What the server calls `basedir`: the folder above its programs. */
  readonly base: string
  /** The folder with `english/errmsg.sys` in it; undefined where the server must know by itself. */
  readonly messages: string | undefined
  readonly characterSets: string | undefined
  readonly plugins: string | undefined
  /** The folder with MariaDB's own scripts (`mariadb_system_tables.sql`); undefined where there are none. */
  readonly scripts: string | undefined
}

/** Below `base`. A distribution has both names of MariaDB's folder, or one, and the versions differ in which. */
const shares = ['share', 'share/mysql', 'share/mariadb']
const pluginFolders = [
  'lib/plugin',
  'lib/mysql/plugin',
  'lib/mariadb/plugin',
  'lib64/mysql/plugin',
  'lib64/mariadb/plugin',
]

/** The scripts that make MariaDB's system tables lost their old name with version 11. */
export const systemTables = ['mariadb_system_tables.sql', 'mysql_system_tables.sql']

const parent = (folder: string): string => folder.replace(/\/+$/, '').replace(/\/[^/]+$/, '') || '/'

/** Looks on the host, at most a dozen times. `/usr/sbin/mysqld` has its share in `/usr/share`, `X/bin/mysqld` in `X/share`. */
export async function layoutOf(host: Host): Promise<Layout> {
  const base = parent(host.paths.bin)
  const below = base === '/' ? '' : base
  const first = async (folders: readonly string[], files: readonly string[]): Promise<string | undefined> => {
    for (const folder of folders) {
      for (const file of files) if (await host.exists(`${below}/${folder}/${file}`)) return `${below}/${folder}`
    }
    return undefined
  }
  const messages = await first(shares, ['english/errmsg.sys'])
  const sets = await first([...shares.map((share) => `${share}/charsets`)], ['Index.xml'])
  const plugins = await first(pluginFolders, ['.'])
  return {base, messages, characterSets: sets, plugins, scripts: await first(shares, systemTables)}
}
