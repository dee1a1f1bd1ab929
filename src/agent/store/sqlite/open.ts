import {createHash} from 'node:crypto'
import {chmodSync, existsSync} from 'node:fs'
import Database from 'better-sqlite3'
import {DbaasError} from '../../../core/errors.js'
import type {Migration} from './migrations.js'

export type Connection = Database.Database

/** `dbas`: tells our files from other SQLite files. */
const applicationId = 0x64626173

/** SQLite's own error codes, as ours. Anything else is passed through. */
export function translateSqlite(error: unknown, file: string): unknown {
  const code = String((error as {code?: unknown} | null)?.code ?? '')
  if (code === 'SQLITE_FULL' || code.startsWith('SQLITE_IOERR_WRITE') || code === 'SQLITE_IOERR_SHMSIZE') {
    return new DbaasError('DISK_FULL', `the disk of ${file} is full`, {
      cause: error, details: {file}, suggestions: ['free some space, then run the command again', 'dbaas doctor'],
    })
  }
  if (code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB') return corrupt(file, error)
  if (code === 'SQLITE_CANTOPEN' || code === 'SQLITE_READONLY' || code === 'SQLITE_PERM') {
    return new DbaasError('HOME_UNUSABLE', `${file} cannot be opened for writing`, {
      cause: error, details: {file}, suggestions: ['check the owner and the permissions of the home folder', 'dbaas doctor'],
    })
  }
  return error
}

const corrupt = (file: string, cause?: unknown, because?: string): DbaasError =>
  new DbaasError('STORE_CORRUPT', `the state file ${file} is damaged${because ? `: ${because}` : ''}`, {
    cause,
    details: {file},
    suggestions: [
      'put back a copy of the file if you have one; your databases go on running and their data is not in it',
      `move the file aside and run "dbaas agent start": the agent then lists running servers as strangers`,
    ],
  })

/**
 * Opens a state file, made 0600 if absent, and brings it to the newest schema in one transaction.
 * Throws STORE_CORRUPT, STORE_NEWER, DISK_FULL, HOME_UNUSABLE.
 */
export function openDatabase(file: string, migrations: readonly Migration[]): Connection {
  let db: Connection | undefined
  try {
    const fresh = !existsSync(file)
    db = new Database(file)
    if (fresh) chmodSync(file, 0o600)
    // Before anything is written: the mode of the journal is kept in the file, which may not be ours.
    const found = recognise(db, file, migrations)
    db.pragma('journal_mode = WAL')
    db.pragma('synchronous = FULL')
    db.pragma('foreign_keys = ON')
    db.pragma('secure_delete = ON')
    db.pragma('busy_timeout = 5000')
    migrate(db, file, migrations, found)
    return db
  } catch (error) {
    db?.close()
    throw translateSqlite(error, file)
  }
}

/** Throws STORE_CORRUPT, STORE_NEWER for a file that is not to be touched. */
function recognise(db: Connection, file: string, migrations: readonly Migration[]): {version: number; empty: boolean} {
  const version = db.pragma('user_version', {simple: true}) as number
  const owner = db.pragma('application_id', {simple: true}) as number
  const empty = version === 0 && (db.prepare('SELECT count(*) AS n FROM sqlite_schema').get() as {n: number}).n === 0
  if (!empty) {
    if (owner !== applicationId) throw corrupt(file, undefined, 'it was not made by dbaas')
    if (version > migrations.length) {
      throw new DbaasError('STORE_NEWER', `the state file ${file} was written by a newer dbaas (schema ${version}, this one knows ${migrations.length})`, {
        details: {file, schema: String(version), known: String(migrations.length)},
        suggestions: ['install the newer dbaas again'],
      })
    }
    const damage = (db.pragma('quick_check(1)', {simple: true}) as string)
    if (damage !== 'ok') throw corrupt(file, undefined, damage)
  }
  return {version, empty}
}

function migrate(db: Connection, file: string, migrations: readonly Migration[], {version, empty}: {version: number; empty: boolean}): void {
  if (version === migrations.length) {
    verifyHashes(db, file, migrations)
    return
  }
  db.transaction(() => {
    if (empty) {
      db.pragma(`application_id = ${applicationId}`)
      db.exec('CREATE TABLE migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL) STRICT')
    }
    for (const [index, migration] of migrations.entries()) {
      if (index < version) continue
      db.exec(migration.sql)
      db.prepare('INSERT INTO migrations VALUES (?, ?, ?)').run(index + 1, migration.name, sha256(migration.sql))
    }
    db.pragma(`user_version = ${migrations.length}`)
  }).immediate()
}

function verifyHashes(db: Connection, file: string, migrations: readonly Migration[]): void {
  const rows = db.prepare('SELECT version, sha256 FROM migrations ORDER BY version').all() as {version: number; sha256: string}[]
  for (const row of rows) {
    const migration = migrations[row.version - 1]
    if (!migration || sha256(migration.sql) !== row.sha256) {
      throw corrupt(file, undefined, `its schema ${row.version} is not the one this version of dbaas makes`)
    }
  }
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
