// Feature: enterprise-dbaas-platform, Property 9: Comprehensive Audit Logging
import assert from 'node:assert/strict'
import {join} from 'node:path'
import Database from 'better-sqlite3'
import fc from 'fast-check'
import {openSqliteAuditLog} from '../../../src/agent/store/sqlite/audit-log.js'
import type {AuditRecord} from '../../../src/agent/store/store.js'
import {temporaryFolder} from '../../support/temporary.js'

const entry = (n: number, patch: Partial<AuditRecord> = {}): AuditRecord => ({
  id: `aud_${n}`, at: n, tenantId: 'default', actor: 'local:0', source: 'socket', action: 'instances.create', resource: 'instance/demo',
  result: 'succeeded', requestId: `req_${n}`, details: {n: String(n)}, ...patch,
})

describe('the audit log', () => {
  const folder = temporaryFolder('audit')
  after(() => folder.dispose())

  it('chains entries, takes each id once, and lists the newest first', async () => {
    const log = openSqliteAuditLog(join(folder.path, 'a.db'))
    await log.append([entry(1), entry(2)])
    await log.append([entry(2), entry(3)])
    const listed = await log.list({limit: 10})
    assert.deepEqual(listed.map((e) => e.id), ['aud_3', 'aud_2', 'aud_1'])
    assert.equal(listed[0]?.previousHash, listed[1]?.hash)
    assert.deepEqual(await log.verify(), {ok: true, entries: 3, firstBrokenSequence: null, because: null, headHash: listed[0]?.hash ?? ''})
    await log.close()
  })

  it('cannot be updated or deleted from through SQL', async () => {
    const path = join(folder.path, 'b.db')
    const log = openSqliteAuditLog(path)
    await log.append([entry(1)])
    const db = new Database(path)
    assert.throws(() => db.exec("UPDATE entries SET body = '{}'"), /append-only/)
    assert.throws(() => db.exec('DELETE FROM entries'), /append-only/)
    db.close()
    await log.close()
  })

  it('names the first broken entry, whatever field of whatever entry was forged behind the triggers', async () => {
    let run = 0
    await fc.assert(fc.asyncProperty(
      fc.integer({min: 2, max: 12}), fc.nat(), fc.constantFrom('body', 'previous_hash', 'hash', 'tenant_id', 'gone'),
      async (count, pick, what) => {
        const path = join(folder.path, `forged-${run++}.db`)
        const log = openSqliteAuditLog(path)
        await log.append(Array.from({length: count}, (_, i) => entry(i + 1)))
        // the last entry's removal is caught by the remembered head, not by the chain
        const victim = 1 + (pick % (what === 'gone' ? count - 1 : count))
        const db = new Database(path)
        db.exec('DROP TRIGGER entries_are_not_updated; DROP TRIGGER entries_are_not_deleted')
        if (what === 'gone') db.prepare('DELETE FROM entries WHERE sequence = ?').run(victim)
        else if (what === 'body') db.prepare("UPDATE entries SET body = replace(body, 'local:0', 'local:1') WHERE sequence = ?").run(victim)
        else if (what === 'tenant_id') db.prepare("UPDATE entries SET tenant_id = 'other' WHERE sequence = ?").run(victim)
        else db.prepare(`UPDATE entries SET ${what} = ? WHERE sequence = ?`).run('f'.repeat(64), victim)
        db.close()
        const result = await log.verify()
        await log.close()
        assert.equal(result.ok, false)
        assert.equal(result.firstBrokenSequence, victim)
      },
    ), {numRuns: 100})
  })
})
