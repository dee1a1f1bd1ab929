/** The role that reads the server for backups: it may replicate, and nothing more. */
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import {asAdmin} from '../client.js'

/** Let in by certificate alone, and to no database: see `hba` in files.ts. */
export const backupRole = 'dbaas_backup'

/** As EngineBackup.prepare promises. A server that recovers has the role from its primary. */
export async function prepare(host: Host, admin: AdminCredentials): Promise<void> {
  await asAdmin(host, admin, async (client) => {
    const {rows} = await client.query<{recovering: boolean; there: boolean}>(
      'select pg_is_in_recovery() as recovering, exists (select from pg_roles where rolname = $1) as there', [backupRole])
    if (rows[0]?.recovering) return
    if (!rows[0]?.there) await client.query(`create role ${backupRole}`)
    await client.query(`alter role ${backupRole} login replication nosuperuser nocreatedb nocreaterole nobypassrls connection limit -1 password null valid until 'infinity'`)
    // its words about pages are read, so they must not be translated; and only a superuser can say so
    await client.query(`alter role ${backupRole} set lc_messages = 'C'`)
  })
}
