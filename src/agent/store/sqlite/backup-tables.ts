/** The tables of backups, as one scope sees them. */
import type {BackupRecord, HistoryRecord, LogRecord, PolicyRecord, RepositoryRecord, RestoreTestRecord} from '../../../core/backup/backup.js'
import {DbaasError} from '../../../core/errors.js'
import type {Tx} from '../store.js'
import {bool, fromRow, json, plain, toRow, type Column, type Row} from './rows.js'

const backupColumns: readonly Column<BackupRecord>[] = [
  plain('id'), plain('tenantId'), plain('instanceId'), plain('instanceName'), plain('engine'), plain('incarnation'), plain('repository'),
  plain('line'), plain('trigger'), plain('type'), plain('status'), plain('because'), plain('label'), plain('keepMs'), plain('snapshot'), plain('sizeBytes'),
  plain('storedBytes'), bool('encrypted'), plain('checksum'), plain('timeline'), plain('startPosition'), plain('endPosition'),
  plain('startSegment'), plain('endSegment'), plain('consistentAt'), json('base'), plain('verifiedAt'), plain('createdAt'),
  plain('completedAt'), plain('expiresAt'),
]
const historyColumns: readonly Column<HistoryRecord>[] = [
  plain('id'), plain('tenantId'), plain('instanceId'), plain('instanceName'), plain('engine'), plain('repository'), plain('system'),
  plain('beganAt'), plain('endedAt'), bool('kept'), bool('shredded'),
]
const policyColumns: readonly Column<PolicyRecord>[] = [
  plain('instanceId'), plain('tenantId'), bool('enabled'), plain('because'), plain('repository'), plain('cron'), plain('backupType'),
  plain('jitterMs'), plain('windowMs'), plain('keepLast'), plain('enabledAt'), plain('servedAt'), plain('updatedAt'),
]
const logColumns: readonly Column<LogRecord>[] = [
  plain('id'), plain('tenantId'), plain('instanceId'), plain('state'), plain('because'), plain('since'), plain('timeline'),
  plain('position'), plain('durableAt'), plain('lagBytes'), plain('lagSeconds'), plain('line'), plain('updatedAt'),
]
const repositoryColumns: readonly Column<RepositoryRecord>[] = [
  plain('name'), plain('tenantId'), plain('kind'), plain('location'), json('settings'), plain('repositoryId'),
  plain('copyOf'), plain('copiedAt'), plain('copyBecause'), plain('copyFailedAt'), plain('status'), plain('because'), plain('checkedAt'), plain('createdAt'),
]
const restoreTestColumns: readonly Column<RestoreTestRecord>[] = [
  plain('id'), plain('tenantId'), plain('instanceId'), plain('backupId'), plain('at'), bool('ok'), plain('rtoSeconds'), plain('recoveredTo'),
  json('result'),
]

/** Each of them keeps to the scope. */
export interface ScopedTables {
  /** The condition that a row is in the scope. */
  readonly visible: string
  all(text: string, values?: Row): Row[]
  one(text: string, values?: Row): Row | undefined
  insert(table: string, row: Row): void
  /** Inserts or replaces. */
  put(table: string, row: Row): void
  update(table: string, id: string, row: Row, key?: string): void
  remove(table: string, key: string, id: string): void
}

export function openBackupTables({visible, all, one, insert, put, update, remove}: ScopedTables): Pick<Tx, 'backups' | 'histories' | 'policies' | 'logs' | 'repositories' | 'restoreTests'> {
  const find = <T>(columns: readonly Column<T>[], table: string, key: string, value: string): T | undefined => {
    const row = one(`SELECT * FROM ${table} WHERE ${key} = @value AND ${visible}`, {value})
    return row && fromRow<T>(columns, row)
  }
  const list = <T>(columns: readonly Column<T>[], table: string, order: string, filter: Readonly<Record<string, string | undefined>> = {}): T[] => {
    const wanted = Object.entries(filter).filter((entry): entry is [string, string] => entry[1] !== undefined)
    const where = [visible, ...wanted.map(([column]) => `${column} = @${column}`)].join(' AND ')
    return all(`SELECT * FROM ${table} WHERE ${where} ORDER BY ${order}`, Object.fromEntries(wanted)).map((row) => fromRow<T>(columns, row))
  }
  return {
    backups: {
      get: async (id) => find(backupColumns, 'backups', 'id', id),
      list: async ({instanceId, incarnation} = {}) => list(backupColumns, 'backups', 'created_at, id', {instance_id: instanceId, incarnation}),
      insert: async (record) => insert('backups', toRow(backupColumns, record)),
      update: async (id, patch) => update('backups', id, toRow(backupColumns, patch)),
      remove: async (id) => remove('backups', 'id', id),
    },
    histories: {
      get: async (id) => find(historyColumns, 'histories', 'id', id),
      list: async (instanceId) => list(historyColumns, 'histories', 'began_at, id', {instance_id: instanceId}),
      insert: async (record) => insert('histories', toRow(historyColumns, record)),
      update: async (id, patch) => update('histories', id, toRow(historyColumns, patch)),
      remove: async (id) => remove('histories', 'id', id),
    },
    policies: {
      get: async (instanceId) => find(policyColumns, 'policies', 'instance_id', instanceId),
      list: async () => list(policyColumns, 'policies', 'instance_id'),
      put: async (record) => put('policies', toRow(policyColumns, record)),
      remove: async (instanceId) => remove('policies', 'instance_id', instanceId),
    },
    logs: {
      get: async (id) => find(logColumns, 'logs', 'id', id),
      list: async () => list(logColumns, 'logs', 'id'),
      put: async (record) => put('logs', toRow(logColumns, record)),
      remove: async (id) => remove('logs', 'id', id),
    },
    repositories: {
      get: async (name) => find(repositoryColumns, 'repositories', 'name', name),
      list: async () => list(repositoryColumns, 'repositories', 'name'),
      async insert(record) {
        try {
          insert('repositories', toRow(repositoryColumns, record))
        } catch (error) {
          if (!String((error as {code?: unknown}).code).startsWith('SQLITE_CONSTRAINT')) throw error
          throw new DbaasError('NAME_IN_USE', `there already is a repository "${record.name}"`, {
            details: {name: record.name}, suggestions: ['dbaas repositories list', 'choose another name'],
          })
        }
      },
      remove: async (name) => remove('repositories', 'name', name),
      update: async (name, patch) => update('repositories', name, toRow(repositoryColumns, patch), 'name'),
    },
    restoreTests: {
      last: async (instanceId) => {
        const row = one(`SELECT * FROM restore_tests WHERE instance_id = @instanceId AND ${visible} ORDER BY at DESC LIMIT 1`, {instanceId})
        return row && fromRow<RestoreTestRecord>(restoreTestColumns, row)
      },
      insert: async (record) => insert('restore_tests', toRow(restoreTestColumns, record)),
      removeAll: async (instanceId) => remove('restore_tests', 'instance_id', instanceId),
    },
  }
}
