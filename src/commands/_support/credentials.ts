/** What a client on this machine needs to connect. */
import type {Client} from '../../agent/client/client.js'
import type {Location} from '../../agent/client/locate.js'
import type {ApiCredentials} from '../../core/api/schemas.js'

export interface LocalCredentials {
  readonly credentials: ApiCredentials
  /** The CA certificate on this machine: the agent's own file, or a copy when the agent is on another machine. */
  readonly caFile: string
}

export async function readCredentials(client: Client, location: Location, name: string): Promise<LocalCredentials> {
  const {credentials} = await client.call('instances.credentials', {params: {instance: name}})
  const {readFile, mkdir, writeFile} = await import('node:fs/promises')
  const own = await readFile(credentials.ca_file, 'utf8').catch(() => undefined)
  if (own === credentials.ca_certificate) return {credentials, caFile: credentials.ca_file}
  const {createHash} = await import('node:crypto')
  const {join} = await import('node:path')
  const folder = join(location.home, 'ca')
  const caFile = join(folder, `${createHash('sha256').update(credentials.ca_certificate).digest('hex').slice(0, 16)}.pem`)
  await mkdir(folder, {recursive: true, mode: 0o700})
  await writeFile(caFile, credentials.ca_certificate, {mode: 0o644})
  return {credentials, caFile}
}
