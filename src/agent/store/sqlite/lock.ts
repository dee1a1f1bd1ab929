import Database from 'better-sqlite3'
import {translateSqlite, type Connection} from './open.js'

/**
 * An exclusive lock that the system releases with the process, however it ends: an SQLite file held in an exclusive
 * transaction (a POSIX record lock; Node has no flock). Undefined when another process has it.
 */
export function takeLock(file: string): {release(): void} | undefined {
  let db: Connection | undefined
  try {
    db = new Database(file, {timeout: 0})
    db.pragma('journal_mode = DELETE')
    db.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    db?.close()
    const code = String((error as {code?: unknown}).code ?? '')
    if (code.startsWith('SQLITE_BUSY')) return undefined
    throw translateSqlite(error, file)
  }
  const held = db
  return {release: () => held.close()}
}
