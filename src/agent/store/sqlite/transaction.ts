import {DbaasError} from '../../../core/errors.js'
import type {InstanceRecord, NodeRecord} from '../../../core/instance/instance.js'
import type {OperationRecord} from '../../../core/workflow/operation.js'
import type {Vault} from '../secrets.js'
import type {
  AuditRecord, ClusterRecord, EventRecord, FailoverDrillRecord, IdempotencyRecord, PortRecord, RequestRecord, Scope, TemplateRecord, Tx,
} from '../store.js'
import {openBackupTables} from './backup-tables.js'
import type {Connection} from './open.js'
import {clusterColumns, failoverDrillColumns, fromRow, instanceColumns, nodeColumns, operationColumns, toRow, type Row} from './rows.js'

/** Prepared statements are kept per connection: the same few run all day. */
type Statements = (sql: string) => import('better-sqlite3').Statement

export function statementsOf(db: Connection): Statements {
  const kept = new Map<string, import('better-sqlite3').Statement>()
  return (sql) => {
    let statement = kept.get(sql)
    if (!statement) kept.set(sql, (statement = db.prepare(sql)))
    return statement
  }
}

/** The tables as one scope sees them. Reading methods also serve as a ReadTx on a read-only connection. */
export function openTransaction(sql: Statements, scope: Scope, vault: Vault): Tx {
  const tenant = scope === 'platform' ? null : scope.tenant
  /** Every query of a tenant's table goes through this, so that no method can forget it. */
  const visible = tenant === null ? '1 = 1' : 'tenant_id = @tenant'
  const bound = (values: Row = {}): Row => (tenant === null ? values : {...values, tenant})
  const all = (text: string, values?: Row) => sql(text).all(bound(values)) as Row[]
  const one = (text: string, values?: Row) => sql(text).get(bound(values)) as Row | undefined
  const mayWrite = (tenantId: string) => {
    if (tenant !== null && tenant !== tenantId) {
      throw new DbaasError('FORBIDDEN', `the transaction of tenant ${tenant} may not write for ${tenantId}`)
    }
  }
  const insert = (table: string, row: Row) => {
    mayWrite(String(row.tenant_id))
    const names = Object.keys(row)
    sql(`INSERT INTO ${table} (${names.join(', ')}) VALUES (${names.map((n) => `@${n}`).join(', ')})`).run(row)
  }
  const put = (table: string, row: Row) => {
    mayWrite(String(row.tenant_id))
    const names = Object.keys(row)
    sql(`INSERT OR REPLACE INTO ${table} (${names.join(', ')}) VALUES (${names.map((n) => `@${n}`).join(', ')})`).run(row)
  }
  const update = (table: string, id: string, row: Row, key = 'id') => {
    const names = Object.keys(row)
    if (names.length === 0) return
    sql(`UPDATE ${table} SET ${names.map((n) => `${n} = @${n}`).join(', ')} WHERE ${key} = @the_id AND ${visible}`)
      .run(bound({...row, the_id: id}))
  }
  const remove = (table: string, key: string, id: string): void => void sql(`DELETE FROM ${table} WHERE ${key} = @the_id AND ${visible}`).run(bound({the_id: id}))
  const run = (text: string, values?: Row) => sql(text).run(bound(values))

  const instances: Tx['instances'] = {
    async find(ref) {
      const by = ref.startsWith('ins_') ? 'id' : 'name'
      const row = one(`SELECT * FROM instances WHERE ${by} = @ref AND ${visible} ORDER BY created_at LIMIT 1`, {ref})
      return row && fromRow<InstanceRecord>(instanceColumns, row)
    },
    async list() {
      return all(`SELECT * FROM instances WHERE ${visible} ORDER BY name`).map((row) => fromRow<InstanceRecord>(instanceColumns, row))
    },
    async insert(record) {
      try {
        insert('instances', toRow(instanceColumns, record))
      } catch (error) {
        if ((error as {code?: string}).code !== 'SQLITE_CONSTRAINT_UNIQUE') throw error
        throw new DbaasError('NAME_IN_USE', `there already is an instance "${record.name}"`, {
          details: {name: record.name},
          suggestions: [`dbaas status ${record.name}`, 'choose another name'],
        })
      }
    },
    async update(id, patch) {
      update('instances', id, toRow(instanceColumns, patch))
    },
    async remove(id) {
      run(`DELETE FROM instances WHERE id = @id AND ${visible}`, {id})
    },
  }

  const nodes: Tx['nodes'] = {
    async ofInstance(instanceId) {
      return all(`SELECT * FROM nodes WHERE instance_id = @instanceId AND ${visible} ORDER BY name`, {instanceId})
        .map((row) => fromRow<NodeRecord>(nodeColumns, row))
    },
    async list() {
      return all(`SELECT * FROM nodes WHERE ${visible} ORDER BY name`).map((row) => fromRow<NodeRecord>(nodeColumns, row))
    },
    async insert(record) {
      insert('nodes', toRow(nodeColumns, record))
    },
    async update(id, patch) {
      update('nodes', id, toRow(nodeColumns, patch))
    },
    async remove(id) {
      run(`DELETE FROM nodes WHERE id = @id AND ${visible}`, {id})
    },
  }

  const asOperation = (row: Row) => fromRow<OperationRecord>(operationColumns, row)
  const operations: Tx['operations'] = {
    async get(id) {
      const row = one(`SELECT * FROM operations WHERE id = @id AND ${visible}`, {id})
      return row && asOperation(row)
    },
    async list(filter) {
      const where = [visible]
      const values: Row = {limit: filter.limit}
      if (filter.instanceId !== undefined) {
        where.push('instance_id = @instanceId')
        values.instanceId = filter.instanceId
      }
      if (filter.status !== undefined) {
        where.push('status = @status')
        values.status = filter.status
      }
      return all(`SELECT * FROM operations WHERE ${where.join(' AND ')} ORDER BY created_at DESC, id DESC LIMIT @limit`, values).map(asOperation)
    },
    async open() {
      return all(`SELECT * FROM operations WHERE ended_at IS NULL AND ${visible} ORDER BY created_at, id`).map(asOperation)
    },
    async openOfInstance(instanceId, lane = 'instance') {
      return all(`SELECT * FROM operations WHERE ended_at IS NULL AND instance_id = @instanceId AND lane = @lane AND ${visible} ORDER BY created_at, id`, {instanceId, lane})
        .map(asOperation)
    },
    async insert(record) {
      insert('operations', toRow(operationColumns, record))
    },
    async update(id, patch) {
      update('operations', id, toRow(operationColumns, patch))
    },
  }

  const asTemplate = (row: Row): TemplateRecord => ({
    tenantId: row.tenant_id as string, engine: row.engine as string, name: row.name as string,
    description: row.description as string, parameters: JSON.parse(row.parameters as string), updatedAt: row.updated_at as number,
  })
  const templates: Tx['templates'] = {
    async get(engine, name) {
      const row = one(`SELECT * FROM templates WHERE engine = @engine AND name = @name AND ${visible}`, {engine, name})
      return row && asTemplate(row)
    },
    async list(engine) {
      return all(`SELECT * FROM templates WHERE engine = @engine AND ${visible} ORDER BY name`, {engine}).map(asTemplate)
    },
    async put(record) {
      mayWrite(record.tenantId)
      sql('INSERT OR REPLACE INTO templates VALUES (@tenantId, @engine, @name, @description, @parameters, @updatedAt)')
        .run({...record, parameters: JSON.stringify(record.parameters)})
    },
    async remove(engine, name) {
      run(`DELETE FROM templates WHERE engine = @engine AND name = @name AND ${visible}`, {engine, name})
    },
  }

  const secrets: Tx['secrets'] = {
    async get(ownerId, name) {
      const row = one(`SELECT tenant_id, sealed FROM secrets WHERE owner_id = @ownerId AND name = @name AND ${visible}`, {ownerId, name})
      return row && vault.open(row.tenant_id as string, ownerId, name, row.sealed as Buffer)
    },
    async put(tenantId, ownerId, name, value) {
      mayWrite(tenantId)
      sql('INSERT OR REPLACE INTO secrets VALUES (@tenantId, @ownerId, @name, @sealed)')
        .run({tenantId, ownerId, name, sealed: vault.seal(tenantId, ownerId, name, value)})
    },
    async removeAll(ownerId) {
      run(`DELETE FROM secrets WHERE owner_id = @ownerId AND ${visible}`, {ownerId})
    },
  }

  const ports: Tx['ports'] = {
    // all tenants share the machine's ports, so every scope sees which are taken
    async list() {
      return (sql('SELECT * FROM ports').all() as Row[])
        .map((row): PortRecord => ({port: row.port as number, tenantId: row.tenant_id as string, ownerId: row.owner_id as string}))
    },
    async reserve(record) {
      mayWrite(record.tenantId)
      const taken = sql('SELECT owner_id FROM ports WHERE port = ?').get(record.port) as Row | undefined
      if (taken && taken.owner_id !== record.ownerId) {
        throw new DbaasError('PORT_IN_USE', `port ${record.port} belongs to another instance`, {
          details: {port: String(record.port)}, suggestions: ['leave --port away to get a free one'],
        })
      }
      sql('INSERT OR REPLACE INTO ports VALUES (@port, @tenantId, @ownerId)').run({...record})
    },
    async release(ownerId) {
      run(`DELETE FROM ports WHERE owner_id = @ownerId AND ${visible}`, {ownerId})
    },
  }

  const settings: Tx['settings'] = {
    async get(name) {
      return (sql('SELECT value FROM settings WHERE name = ?').get(name) as Row | undefined)?.value as string | undefined
    },
    async put(name, value) {
      sql('INSERT OR REPLACE INTO settings VALUES (?, ?, ?)').run(name, tenant ?? 'platform', value)
    },
    async remove(name) {
      sql('DELETE FROM settings WHERE name = ?').run(name)
    },
  }

  const measurements: Tx['measurements'] = {
    async typical(name) {
      const values = (sql('SELECT value FROM measurements WHERE name = ? ORDER BY id DESC LIMIT 20').all(name) as Row[])
        .map((row) => row.value as number).sort((a, b) => a - b)
      return values.length === 0 ? undefined : values[Math.floor(values.length / 2)]
    },
    async record(name, value, at) {
      sql('INSERT INTO measurements (tenant_id, name, value, at) VALUES (?, ?, ?, ?)').run(tenant ?? 'platform', name, value, at)
      sql(`DELETE FROM measurements WHERE name = @name AND id NOT IN
           (SELECT id FROM measurements WHERE name = @name ORDER BY id DESC LIMIT 20)`).run({name})
    },
  }

  const requests: Tx['requests'] = {
    async list(limit) {
      return all(`SELECT * FROM requests WHERE ${visible} ORDER BY id DESC LIMIT @limit`, {limit}).map((row): RequestRecord => ({
        requestId: row.request_id as string, tenantId: row.tenant_id as string, clientId: row.client_id as string,
        method: row.method as string, path: row.path as string, statusCode: row.status_code as number,
        durationMs: row.duration_ms as number, at: row.at as number,
      }))
    },
    async insert(records) {
      const statement = sql(`INSERT INTO requests (request_id, tenant_id, client_id, method, path, status_code, duration_ms, at)
        VALUES (@requestId, @tenantId, @clientId, @method, @path, @statusCode, @durationMs, @at)`)
      for (const record of records) statement.run(record)
    },
    async expire(before) {
      return run(`DELETE FROM requests WHERE at < @before AND ${visible}`, {before}).changes
    },
  }

  const idempotency: Tx['idempotency'] = {
    async get(principalId, key) {
      const row = one(`SELECT * FROM idempotency WHERE principal_id = @principalId AND key = @key AND ${visible}`, {principalId, key})
      return row && ({
        tenantId: row.tenant_id, principalId: row.principal_id, key: row.key, fingerprint: row.fingerprint,
        operationId: row.operation_id, at: row.at,
      } as IdempotencyRecord)
    },
    async put(record) {
      mayWrite(record.tenantId)
      sql('INSERT INTO idempotency VALUES (@tenantId, @principalId, @key, @fingerprint, @operationId, @at)').run(record)
    },
    async expire(before) {
      return run(`DELETE FROM idempotency WHERE at < @before AND ${visible}`, {before}).changes
    },
  }

  const asCluster = (row: Row) => fromRow<ClusterRecord>(clusterColumns, row)
  const clusters: Tx['clusters'] = {
    async get(instanceId) {
      const row = one(`SELECT * FROM clusters WHERE instance_id = @instanceId AND ${visible}`, {instanceId})
      return row && asCluster(row)
    },
    async list() {
      return all(`SELECT * FROM clusters WHERE ${visible} ORDER BY instance_id`).map(asCluster)
    },
    async put(record) {
      put('clusters', toRow(clusterColumns, record))
    },
    async remove(instanceId) {
      remove('clusters', 'instance_id', instanceId)
      remove('failover_drills', 'instance_id', instanceId)
    },
  }

  const asDrill = (row: Row | undefined) => row && fromRow<FailoverDrillRecord>(failoverDrillColumns, row)
  const failoverDrills: Tx['failoverDrills'] = {
    get: async (id) => asDrill(one(`SELECT * FROM failover_drills WHERE id = @id AND ${visible}`, {id})),
    last: async (instanceId) => asDrill(one(`SELECT * FROM failover_drills WHERE instance_id = @instanceId AND ${visible} ORDER BY at DESC LIMIT 1`, {instanceId})),
    insert: async (record) => insert('failover_drills', toRow(failoverDrillColumns, record)),
  }

  return {
    clusters, failoverDrills, instances, nodes, operations, templates, secrets, ports, settings, measurements, requests, idempotency,
    ...openBackupTables({visible, all, one, insert, put, update, remove}),
    async audit(entry: AuditRecord) {
      mayWrite(entry.tenantId)
      sql('INSERT INTO audit_outbox (tenant_id, entry) VALUES (?, ?)').run(entry.tenantId, JSON.stringify(entry))
    },
    async event(event: EventRecord) {
      mayWrite(event.tenantId)
      sql('INSERT INTO events (id, tenant_id, type, subject, payload, at) VALUES (@id, @tenantId, @type, @subject, @payload, @at)')
        .run({...event, payload: JSON.stringify(event.payload)})
    },
    outbox: {
      async audit(limit) {
        return (sql('SELECT id, entry FROM audit_outbox ORDER BY id LIMIT ?').all(limit) as Row[])
          .map((row) => ({id: row.id as number, entry: JSON.parse(row.entry as string) as AuditRecord}))
      },
      async removeAudit(upToId) {
        sql('DELETE FROM audit_outbox WHERE id <= ?').run(upToId)
      },
      async expireEvents(before) {
        return sql('DELETE FROM events WHERE at < ?').run(before).changes
      },
    },
  }
}
