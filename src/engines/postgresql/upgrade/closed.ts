/** A server that serves nobody but the agent, and stands still: what is copied from it is all there is. */
import type {EngineCopy} from '../../upgrade.js'
import {backupRole} from '../backup/role.js'
import {adminRole} from '../client.js'
import {lifecycle} from '../lifecycle.js'

/** The log of the shutdown is still archived. */
const hba = `# Written by dbaas: this server is being copied.
hostssl     all          ${adminRole}   all      cert
hostssl     replication  ${adminRole}   all      cert
hostssl     replication  ${backupRole}  all      cert
hostssl     all          all           all      reject
hostnossl   all          all           all      reject
`

export const closedCommand: EngineCopy['closedCommand'] = async (host, version) => {
  const path = `${host.paths.config}/pg_hba_closed.conf`
  await host.write({path, content: hba, mode: 0o600})
  const {argv, env} = lifecycle.command(host, version)
  const settings = {hba_file: path, default_transaction_read_only: 'on', autovacuum: 'off', max_logical_replication_workers: '0'}
  // the last one on the command line wins
  return {argv: [...argv, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])], env}
}
