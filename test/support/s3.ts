/** The S3 servers of scripts/site/s3.sh: real ones, that check signatures. */
import {execFileSync} from 'node:child_process'
import {randomUUID} from 'node:crypto'
import {existsSync, readFileSync} from 'node:fs'
import type {LookupFunction} from 'node:net'
import {join} from 'node:path'
import type {S3Options} from '../../src/agent/repositories/s3/index.js'
import {createClient, type Client} from '../../src/agent/repositories/s3/client.js'
import {bodyOf} from '../../src/agent/repositories/s3/objects.js'
import {resolveTarget} from '../../src/agent/repositories/s3/options.js'
import type {Credentials} from '../../src/agent/repositories/s3/sign.js'
import {parseVersions} from '../../src/agent/repositories/s3/xml.js'
import {needOrSkip, testSite} from './need.js'

interface Servers {
  readonly ceph: {
    readonly endpoint: string
    readonly tls: string
    /** PEM. */
    readonly ca: string
    /** Buckets are names below it. It is in no name service: see `lookupLoopback`. */
    readonly domain: string
    /** `owner` may do what he likes, `guest` has nothing, `small` has room for 1 MiB. */
    readonly users: Readonly<Record<'owner' | 'guest' | 'small', Credentials>>
  }
  /** Has no conditional writes. */
  readonly swift: {readonly endpoint: string; readonly users: {readonly owner: Credentials}}
}

const file = join(testSite, 's3/run/servers.json')

/** The suite needs them. To be called first in a `describe`; they are known in hooks and tests. */
export function s3OrSkip(): () => Servers {
  needOrSkip(() => (existsSync(file) ? undefined : 'no S3 servers run: scripts/site/s3.sh start'))
  return () => JSON.parse(readFileSync(file, 'utf8')) as Servers
}

/** Swift's parts are several processes: what has ended is started again, and its last words are in the test's output. */
export function reviveSwift(): void {
  process.stdout.write(execFileSync(join(import.meta.dirname, '../../scripts/site/s3.sh'), ['start'], {encoding: 'utf8'}))
}

/** A bucket of its own on Ceph; `dispose` removes it with all that is in it. */
export async function makeBucket(ceph: Servers['ceph'], versions = false): Promise<{options: S3Options; dispose(): Promise<void>}> {
  const options = {bucket: `dbaas-test-${randomUUID()}`, endpoint: ceph.endpoint, credentials: ceph.users.owner}
  const client = createClient(resolveTarget(options))
  await client.call({method: 'PUT'})
  if (versions) await keepVersions(client)
  return {options, dispose: () => removeBucket(client)}
}

async function keepVersions(client: Client): Promise<void> {
  const xml = '<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>'
  await client.call({method: 'PUT', query: {versioning: ''}, body: await bodyOf(Buffer.from(xml))})
}

/** What is in the bucket, every version and delete marker of it: key and version. */
export async function versionsIn(options: S3Options): Promise<{key: string; id: string}[]> {
  const {body} = await createClient(resolveTarget(options)).call({method: 'GET', query: {versions: '', 'encoding-type': 'url'}})
  return parseVersions(body) ?? []
}

export async function removeBucket(client: Client): Promise<void> {
  const {bucket, host, port, tls, credentials, region} = client.target
  const options = {bucket, endpoint: `${tls ? 'https' : 'http'}://${host}:${port}`, credentials, region}
  for (let found = await versionsIn(options); found.length > 0; found = await versionsIn(options)) {
    await Promise.all(found.map(({key, id}) => client.call({method: 'DELETE', key, query: {versionId: id}}, [404])))
  }
  await client.call({method: 'DELETE'}, [404])
}

/** Every name is this machine. */
export const lookupLoopback: LookupFunction = (_, options, answer) => {
  if (options.all) (answer as (error: null, found: {address: string; family: number}[]) => void)(null, [{address: '127.0.0.1', family: 4}])
  else answer(null, '127.0.0.1', 4)
}
