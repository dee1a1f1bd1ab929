import {createHash} from 'node:crypto'
import type {AuditLog, AuditRecord, AuditVerification, ChainedAuditRecord} from '../store.js'
import {auditMigrations} from './migrations.js'
import {openDatabase, translateSqlite} from './open.js'

const genesis = '0'.repeat(64)

/** SHA-256 over the previous hash, a line feed, and the entry as JSON in a fixed key order. Hex. */
export function chainHash(previousHash: string, sequence: number, body: string): string {
  return createHash('sha256').update(`${previousHash}\n${sequence}\n${body}`).digest('hex')
}

/** Fixed key order, details sorted: the same entry always has the same text. */
function canonical(entry: AuditRecord): string {
  const details = Object.fromEntries(Object.entries(entry.details).sort(([a], [b]) => (a < b ? -1 : 1)))
  return JSON.stringify({
    id: entry.id, at: entry.at, tenantId: entry.tenantId, actor: entry.actor, source: entry.source, action: entry.action,
    resource: entry.resource, result: entry.result, requestId: entry.requestId, details,
  })
}

interface EntryRow {
  sequence: number
  id: string
  tenant_id: string
  body: string
  previous_hash: string
  hash: string
}

export function openSqliteAuditLog(file: string): AuditLog {
  const db = openDatabase(file, auditMigrations)
  const last = db.prepare('SELECT * FROM entries ORDER BY sequence DESC LIMIT 1')
  const known = db.prepare('SELECT 1 FROM entries WHERE id = ?')
  const insert = db.prepare('INSERT INTO entries VALUES (@sequence, @id, @tenant_id, @body, @previous_hash, @hash)')
  const page = db.prepare('SELECT * FROM entries WHERE (@tenant IS NULL OR tenant_id = @tenant) AND sequence < @before ORDER BY sequence DESC LIMIT @limit')

  return {
    // idempotent by id: the drain may be killed between this commit and the removal from the outbox
    async append(entries) {
      try {
        db.transaction(() => {
          const head = last.get() as EntryRow | undefined
          let sequence = head?.sequence ?? 0
          let hash = head?.hash ?? genesis
          for (const entry of entries) {
            if (known.get(entry.id)) continue
            const body = canonical(entry)
            const previous_hash = hash
            sequence += 1
            hash = chainHash(previous_hash, sequence, body)
            insert.run({sequence, id: entry.id, tenant_id: entry.tenantId, body, previous_hash, hash})
          }
        }).immediate()
      } catch (error) {
        throw translateSqlite(error, file)
      }
    },
    async list(filter) {
      const rows = page.all({tenant: filter.tenant ?? null, before: filter.before ?? Number.MAX_SAFE_INTEGER, limit: filter.limit}) as EntryRow[]
      return rows.map((row): ChainedAuditRecord => ({
        ...(JSON.parse(row.body) as AuditRecord), sequence: row.sequence, previousHash: row.previous_hash, hash: row.hash,
      }))
    },
    async verify(): Promise<AuditVerification> {
      let previous = genesis
      let sequence = 0
      const broken = (at: number, because: string): AuditVerification =>
        ({ok: false, entries: sequence, firstBrokenSequence: at, because, headHash: null})
      for (const row of db.prepare('SELECT * FROM entries ORDER BY sequence').iterate() as IterableIterator<EntryRow>) {
        if (row.sequence !== sequence + 1) return broken(sequence + 1, `entry ${sequence + 1} is missing`)
        if (row.previous_hash !== previous) return broken(row.sequence, 'it does not follow from the entry before it')
        if (chainHash(previous, row.sequence, row.body) !== row.hash) return broken(row.sequence, 'its content does not match its hash')
        const body = JSON.parse(row.body) as AuditRecord
        if (body.id !== row.id || body.tenantId !== row.tenant_id) return broken(row.sequence, 'its columns do not match its content')
        previous = row.hash
        sequence = row.sequence
      }
      return {ok: true, entries: sequence, firstBrokenSequence: null, because: null, headHash: sequence === 0 ? null : previous}
    },
    async close() {
      if (db.open) {
        db.pragma('wal_checkpoint(TRUNCATE)')
        db.close()
      }
    },
  }
}
