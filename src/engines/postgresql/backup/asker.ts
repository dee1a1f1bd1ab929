import type {Asker} from '../../backup.js'
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import {connectAdmin} from '../client.js'
import {connectionError} from '../errors.js'

/** As EngineBackup.asker promises. */
export async function asker(host: Host, admin: AdminCredentials): Promise<Asker> {
  const {host: address, port} = host.address()
  const {client, close} = await connectAdmin(host, admin).catch((error: unknown) => {
    throw connectionError(error, `${address}:${port}`)
  })
  return {ask: async () => void (await client.query('select pg_current_xact_id_if_assigned()')), close}
}
