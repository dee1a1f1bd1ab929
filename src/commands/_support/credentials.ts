/** What a client on this machine needs to connect. */
import type {Client} from '../../agent/client/client.js'
import type {Location} from '../../agent/client/locate.js'
import type {ApiCredentials} from '../../core/api/schemas.js'
import type {Route} from '../../engines/prompt.js'

export interface LocalCredentials {
  readonly credentials: ApiCredentials
  /** The CA certificate on this machine, the agent's own file or a copy when the agent is on another, and a place beside it. */
  readonly route: Pick<Route, 'caFile' | 'keep'>
}

export async function readCredentials(client: Client, location: Location, name: string): Promise<LocalCredentials> {
  const {credentials} = await client.call('instances.credentials', {params: {instance: name}})
  const [{createHash}, {readFile}, {join}] = await Promise.all([import('node:crypto'), import('node:fs/promises'), import('node:path')])
  const labelOf = (content: string | Buffer): string => createHash('sha256').update(content).digest('hex').slice(0, 16)
  const folder = join(location.home, 'ca')
  const keep = (file: string, content: string | Buffer): Promise<string> => kept(join(folder, labelOf(content)), file, content)
  const own = await readFile(credentials.ca_file, 'utf8').catch(() => undefined)
  if (own === credentials.ca_certificate) return {credentials, route: {caFile: credentials.ca_file, keep}}
  return {credentials, route: {caFile: await kept(folder, `${labelOf(credentials.ca_certificate)}.pem`, credentials.ca_certificate), keep}}
}

/** The same content is the same file. Renamed into place: another command may be reading it. */
async function kept(folder: string, name: string, content: string | Buffer): Promise<string> {
  const [{mkdir, readFile, rename, writeFile}, {join}] = await Promise.all([import('node:fs/promises'), import('node:path')])
  const path = join(folder, name)
  if ((await readFile(path).catch(() => undefined))?.equals(Buffer.from(content))) return path
  await mkdir(folder, {recursive: true, mode: 0o700})
  const temporary = `${path}.${process.pid}`
  await writeFile(temporary, content, {mode: 0o644})
  await rename(temporary, path)
  return path
}
