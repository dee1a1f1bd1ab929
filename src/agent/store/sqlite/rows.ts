/** Records to rows and back. A row is what SQLite holds; a record is what services see. */
import type {InstanceRecord, NodeRecord} from '../../../core/instance/instance.js'
import type {OperationRecord} from '../../../core/workflow/operation.js'
import type {ClusterRecord, FailoverDrillRecord} from '../store.js'

export type Row = Record<string, string | number | null | Buffer>

export interface Column<T> {
  readonly column: string
  readonly to?: (value: never) => string | number | null
  readonly from?: (value: never) => unknown
  readonly key: keyof T & string
}

export const plain = <T>(key: keyof T & string, column: string = snake(key)): Column<T> => ({key, column})
export const json = <T>(key: keyof T & string): Column<T> => ({
  key, column: snake(key), to: (value: never) => JSON.stringify(value ?? null), from: (value: never) => JSON.parse(value as string),
})
export const bool = <T>(key: keyof T & string): Column<T> => ({
  key, column: snake(key), to: (value: never) => (value ? 1 : 0), from: (value: never) => value === 1,
})
const nullableJson = <T>(key: keyof T & string): Column<T> => ({
  key, column: snake(key),
  to: (value: never) => (value === null ? null : JSON.stringify(value)),
  from: (value: never) => (value === null ? null : JSON.parse(value as string)),
})

function snake(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

export const instanceColumns: readonly Column<InstanceRecord>[] = [
  plain('id'), plain('tenantId'), plain('name'), plain('engine'), plain('version'), plain('runtime'),
  nullableJson('image'), plain('imageAsked'), plain('publishAddress'), bool('leased'), plain('status'),
  plain('statusReason'), plain('wanted'), json('size'), plain('template'), json('layers'), plain('endpointHost'),
  plain('endpointPort'), plain('database'), plain('username'), plain('incarnation'), bool('protected'),
  plain('expiresAt'), plain('createdAt'), plain('updatedAt'),
]

export const nodeColumns: readonly Column<NodeRecord>[] = [
  plain('id'), plain('tenantId'), plain('instanceId'), plain('name'), plain('role'), plain('wanted'), plain('status'),
  plain('statusReason'), plain('port'), plain('runtimeRef'), plain('createdAt'), plain('updatedAt'),
]

export const clusterColumns: readonly Column<ClusterRecord>[] = [
  plain('instanceId'), plain('tenantId'), json('state'), plain('operationId'), json('lastChange'), plain('updatedAt'),
]

export const failoverDrillColumns: readonly Column<FailoverDrillRecord>[] = [plain('id'), plain('tenantId'), plain('instanceId'), plain('at'), bool('ok'), json('result')]

export const operationColumns: readonly Column<OperationRecord>[] = [
  plain('id'), plain('tenantId'), plain('kind'), plain('instanceId'), plain('lane'), plain('status'), json('input'), plain('step'),
  plain('direction'), plain('attempt'), plain('stepStartedAt'), json('steps'), json('result'), nullableJson('error'),
  bool('cancelRequested'), plain('principalId'), plain('requestId'), plain('deadlineAt'), plain('runAt'),
  plain('leaseOwner'), plain('leaseUntil'), plain('createdAt'), plain('endedAt'),
]

export function toRow<T>(columns: readonly Column<T>[], record: Partial<T>): Row {
  const row: Row = {}
  for (const {key, column, to} of columns) {
    if (!(key in record)) continue
    const value = record[key]
    row[column] = to ? to(value as never) : (value as string | number | null)
  }
  return row
}

export function fromRow<T>(columns: readonly Column<T>[], row: Row): T {
  const record: Record<string, unknown> = {}
  for (const {key, column, from} of columns) {
    const value = row[column]
    record[key] = from ? from(value as never) : value
  }
  return record as T
}
