/** What a home still holds of instances: the list must be empty when none exists. */
import {execFileSync} from 'node:child_process'
import {readdirSync, readlinkSync} from 'node:fs'
import {join} from 'node:path'
import Database from 'better-sqlite3'
import {dataRootOf, processesOf} from './site.js'

/** None where there is no such folder: it may go between one look and the next. */
function children(path: string): string[] {
  try {
    return readdirSync(path).map((name) => join(path, name))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return []
  }
}

/** Names of files alone, at any depth: what was left says who left it. */
function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder, {recursive: true, withFileTypes: true}).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
  } catch {
    return ['gone meanwhile']
  }
}

/** What initdb starts does not say where it works; its working folder does. */
function worksBelow(pid: number, folder: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/cwd`).startsWith(folder)
  } catch {
    return true
  }
}

export function leftoversOf(home: string): string[] {
  const dataRoot = dataRootOf(home)
  const found: string[] = []
  for (const folder of ['instances', 'scratch']) found.push(...children(join(dataRoot, folder)).map((path) => `folder ${path}`))
  for (const {pid, what} of processesOf([dataRoot])) {
    // directories are prepared in the background, bounded, for instances to come
    if (/postgres|mysqld|mariadbd/.test(what) && !what.includes(join(dataRoot, 'pool')) && !worksBelow(pid, join(dataRoot, 'pool'))) found.push(`process ${pid} ${what}`)
  }
  // the repository itself stays: its id, its drafts, and nothing of anybody
  found.push(...children(join(dataRoot, 'repository')).filter((path) => !/\/(?:repository|\.drafts|\.reserve)$/.test(path)).map((path) => `backups ${path}: ${filesIn(path).slice(0, 20).join(' ')}`))
  const db = new Database(join(home, 'metadata.db'), {readonly: true})
  try {
    const count = (sql: string): number => (db.prepare(sql).get() as {n: number}).n
    for (const table of ['instances', 'nodes', 'ports', 'backups', 'histories', 'policies', 'logs', 'clusters']) {
      const n = count(`SELECT count(*) AS n FROM ${table}`)
      if (n > 0) found.push(`${n} rows in ${table}`)
    }
    const secrets = count("SELECT count(*) AS n FROM secrets WHERE owner_id NOT LIKE 'site_%'")
    if (secrets > 0) found.push(`${secrets} secrets`)
    const settings = count("SELECT count(*) AS n FROM settings WHERE name LIKE 'gap:%'")
    if (settings > 0) found.push(`${settings} forgotten settings`)
    if ((db.prepare("SELECT value FROM settings WHERE name = 'runtimes.used'").get() as {value: string} | undefined)?.value.includes('docker')) {
      found.push(...dockerLeftovers(siteOf(home)))
    }
    const open = count('SELECT count(*) AS n FROM operations WHERE ended_at IS NULL')
    if (open > 0) found.push(`${open} open operations`)
  } finally {
    db.close()
  }
  // v1 has a tree for each controller, v2 one for all
  const trees = ['/sys/fs/cgroup', ...children('/sys/fs/cgroup')]
  for (const group of trees.flatMap(children).filter((path) => path.endsWith(`/dbaas-${siteOf(home).slice(-12)}`))) {
    found.push(...children(group).filter((path) => /\/nod_/.test(path)).map((path) => `cgroup ${path}`))
  }
  return found
}

/** Where directories are prepared in the background, bounded, for instances to come. */
const preparation = /^dbaas-pool-[0-9a-f]+(-tool)?\b/

/** Containers, volumes and networks that carry the site's label, running or not. */
export function dockerLeftovers(siteId: string): string[] {
  const list = (what: string, ...args: string[]): string[] =>
    execFileSync('docker', [...args, '--filter', `label=io.dbaas.site=${siteId}`], {encoding: 'utf8'}).split('\n').filter((line) => line !== '' && !preparation.test(line)).map((line) => `${what} ${line}`)
  return [
    ...list('container', 'ps', '--all', '--format', '{{.Names}} {{.Status}}'),
    ...list('volume', 'volume', 'ls', '--quiet'),
    ...list('network', 'network', 'ls', '--format', '{{.Name}}'),
  ]
}

export function siteOf(home: string): string {
  const db = new Database(join(home, 'metadata.db'), {readonly: true})
  try {
    return (db.prepare("SELECT value FROM settings WHERE name = 'site.id'").get() as {value: string}).value
  } finally {
    db.close()
  }
}
