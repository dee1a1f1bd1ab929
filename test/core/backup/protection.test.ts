import assert from 'node:assert/strict'
import type {BackupRecord, LogRecord, PolicyRecord} from '../../../src/core/backup/backup.js'
import {diagnoseProtection, type ProtectionView} from '../../../src/core/backup/protection.js'
import {defaultPolicy} from '../../../src/core/backup/schedule.js'

const minute = 60_000
const begin = Date.parse('2026-11-24T10:00:00Z')
const policy: PolicyRecord = {...defaultPolicy, instanceId: 'ins_a', tenantId: 'default', enabled: true, because: null, repository: 'local', enabledAt: begin, servedAt: begin, updatedAt: begin}
const log: LogRecord = {
  id: 'inc', tenantId: 'default', instanceId: 'ins_a', state: 'following', because: null, since: begin, timeline: '1', position: '5', durableAt: begin + 5 * minute,
  lagBytes: 12, lagSeconds: 0.2, line: 1, updatedAt: begin + 5 * minute,
}
const backup: BackupRecord = {
  id: 'bak_1', tenantId: 'default', instanceId: 'ins_a', instanceName: 'a', engine: 'postgresql', incarnation: 'inc', repository: 'local', line: 1, trigger: 'first', type: 'full',
  status: 'completed', because: null, label: null, keepMs: null, snapshot: 1, sizeBytes: 1, storedBytes: 1, encrypted: true, checksum: 'sha256:00', timeline: '1',
  startPosition: '1', endPosition: '2', startSegment: '1', endSegment: '1', consistentAt: begin + minute, base: null, verifiedAt: begin + minute,
  createdAt: begin, completedAt: begin + minute, expiresAt: null,
}
const view = (patch: Partial<ProtectionView> = {}): ProtectionView => ({
  instanceId: 'ins_a', running: true, supported: true, engine: 'PostgreSQL', policy, backups: [backup], log,
  repository: {name: 'local', tenantId: 'default', kind: 'directory', location: '/x', settings: {path: '/x'}, repositoryId: 'r', copyOf: null, copiedAt: null, copyBecause: null, copyFailedAt: null, status: 'ok', because: null, checkedAt: begin, createdAt: begin}, copies: [], lastRestoreTest: undefined, ...patch,
})
const at = begin + 5 * minute

describe('whether an instance is protected', () => {
  it('is told whole when all is well', () => {
    const found = diagnoseProtection(view(), at)
    assert.equal(found.enabled, true)
    assert.equal(found.reason, null)
    assert.equal(found.broken, false)
    assert.equal(found.recoverableFrom, begin + minute)
    assert.equal(found.recoverableTo, begin + 5 * minute)
    assert.equal(found.lastBackupAt, begin + minute)
    assert.equal(found.logLagBytes, 12)
    assert.equal(found.logLagSeconds, 0.2)
    assert.ok((found.nextBackupAt ?? 0) > at)
  })
  it('is no where it is off, or the engine cannot', () => {
    assert.deepEqual([diagnoseProtection(view({supported: false, engine: 'MySQL'}), at)].map((p) => [p.enabled, p.broken, p.reason]), [[false, false, 'backups of MySQL are not there yet']])
    assert.equal(diagnoseProtection(view({policy: {...policy, enabled: false}}), at).broken, false)
  })
  it('gives the first backup ten minutes, and then degrades', () => {
    const none = view({backups: []})
    assert.equal(diagnoseProtection(none, begin + 9 * minute).broken, false)
    assert.match(diagnoseProtection(none, begin + 9 * minute).reason ?? '', /first backup/)
    assert.equal(diagnoseProtection(none, begin + 11 * minute).broken, true)
  })
  it('degrades at once for a gap, a damaged newest backup, or a line that begins anew after the last', () => {
    assert.equal(diagnoseProtection(view({log: {...log, state: 'gap', because: 'the slot was lost'}}), at).broken, true)
    assert.equal(diagnoseProtection(view({backups: [{...backup, status: 'damaged', because: 'a bit'}]}), at).broken, true)
    const cut = diagnoseProtection(view({log: {...log, line: 2}}), at)
    assert.equal(cut.broken, true)
    assert.equal(cut.recoverableTo, null)
  })
  it('lets the log stand still for a minute, and says how far behind it is meanwhile', () => {
    const still = {...log, state: 'broken', because: 'the repository is full', since: at} as const
    assert.equal(diagnoseProtection(view({log: still}), at + 30_000).broken, false)
    const late = diagnoseProtection(view({log: still}), at + 90_000)
    assert.equal(late.broken, true)
    assert.equal(late.logLagSeconds, 90.2)
    assert.match(late.reason ?? '', /the repository is full/)
  })
  it('expects nothing of a server that is stopped', () => assert.equal(diagnoseProtection(view({running: false, log: {...log, state: 'ended'}}), at + 1e9).broken, false))
  it('degrades when a backup that was due has not come for an hour', () => {
    const due = diagnoseProtection(view(), at).nextBackupAt as number
    assert.equal(diagnoseProtection(view({log: {...log, updatedAt: due}}), due + 59 * minute).broken, false)
    assert.equal(diagnoseProtection(view({log: {...log, updatedAt: due}}), due + 61 * minute).broken, true)
  })
})
