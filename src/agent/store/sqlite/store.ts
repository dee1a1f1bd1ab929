import Database from 'better-sqlite3'
import type {Vault} from '../secrets.js'
import type {Scope, Store} from '../store.js'
import {metadataMigrations} from './migrations.js'
import {openDatabase, translateSqlite} from './open.js'
import {openTransaction, statementsOf} from './transaction.js'

/**
 * The store on SQLite: one writer connection behind a queue, one reader that sees only what is committed (WAL).
 * `vault` is made by the caller after asking `hasSecrets`, so that a lost key is noticed before a new one is made.
 */
export function openSqliteStore(file: string, makeVault: (hasSecrets: boolean) => Vault): Store {
  const writer = openDatabase(file, metadataMigrations)
  let reader: Database.Database
  let vault: Vault
  try {
    const secrets = writer.prepare('SELECT count(*) AS n FROM secrets').get() as {n: number}
    vault = makeVault(secrets.n > 0)
    reader = new Database(file, {readonly: true})
  } catch (error) {
    writer.close()
    throw translateSqlite(error, file)
  }
  const write = statementsOf(writer)
  const look = statementsOf(reader)
  let queue: Promise<unknown> = Promise.resolve()
  let readers = 0

  return {
    transact(scope: Scope, change) {
      const turn = queue.then(async () => {
        try {
          writer.exec('BEGIN IMMEDIATE')
          const result = await change(openTransaction(write, scope, vault))
          writer.exec('COMMIT')
          return result
        } catch (error) {
          // a failed COMMIT (full disk) leaves the transaction open as well
          if (writer.inTransaction) writer.exec('ROLLBACK')
          throw translateSqlite(error, file)
        }
      })
      queue = turn.catch(() => undefined)
      return turn
    },
    async read(scope: Scope, see) {
      // nested and parallel reads share one snapshot; it is let go when the last of them ends
      if (readers++ === 0) reader.exec('BEGIN')
      try {
        return await see(openTransaction(look, scope, vault))
      } catch (error) {
        throw translateSqlite(error, file)
      } finally {
        if (--readers === 0) reader.exec('COMMIT')
      }
    },
    async close() {
      await queue
      reader.close()
      // the write-ahead log is folded in, so that a copy of the one file is whole
      if (writer.open) {
        writer.pragma('wal_checkpoint(TRUNCATE)')
        writer.close()
      }
    },
  }
}
