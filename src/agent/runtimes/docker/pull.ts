/** Pulling an image: progress that a person can read, and the registry's refusals as ours. */
import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import type {Readable} from 'node:stream'
import {DbaasError} from '../../../core/errors.js'
import {formatBytes} from '../../../core/units.js'
import type {Client} from './client.js'
import {configFolder, type Environment} from './connection.js'
import {refusalOf, translateWords} from './errors.js'
import {formatReference, repositoryOf, type ImageReference} from './image-reference.js'

/** A line of the engine's answer. */
export interface PullEvent {
  readonly id?: string
  readonly status?: string
  readonly progressDetail?: {readonly current?: number; readonly total?: number}
  readonly error?: string
}

const progressMs = 500
/** The engine is asked every few seconds whether it lives; the registry may take its time. */
const pullMs = 6 * 3600_000

/** Throws IMAGE_NOT_FOUND, DOWNLOAD_FAILED, DISK_FULL, RUNTIME_UNAVAILABLE, and the signal's reason. */
export async function pullImage(
  client: Client, env: Environment, reference: ImageReference, progress: (because: string) => void, signal: AbortSignal,
): Promise<void> {
  const name = formatReference(reference)
  const authconfig = await credentialsFor(reference.registry, env)
  progress(`pulling ${name}`)
  await client.call(`pull ${name}`, async (docker, abortSignal) => {
    const asked = {fromImage: repositoryOf(reference), tag: reference.digest ?? reference.tag ?? 'latest', abortSignal}
    const stream = await docker.createImage(authconfig ?? {}, asked).catch((error: unknown) => {
      const refusal = refusalOf(error)
      throw refusal ? translatePull(refusal.words, reference, error) : error
    }) as Readable
    // the engine gives up a pull that nobody listens to
    abortSignal.addEventListener('abort', () => stream.destroy(), {once: true})
    const layers = createLayers()
    let told = 0
    for await (const event of eventsOf(stream)) {
      if (event.error !== undefined) throw translatePull(event.error, reference)
      layers.take(event)
      if (Date.now() - told < progressMs) continue
      told = Date.now()
      progress(`pulling ${name}: ${layers.say()}`)
    }
  }, {ms: pullMs, signal})
}

async function* eventsOf(stream: Readable): AsyncGenerator<PullEvent> {
  let rest = ''
  for await (const chunk of stream) {
    const lines = (rest + String(chunk)).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (line.trim() !== '') yield JSON.parse(line) as PullEvent
    }
  }
}

/** Sums what is known of the layers: the sizes of those that have not begun are not. */
export function createLayers(): {take(event: PullEvent): void; say(): string} {
  const layers = new Map<string, {current: number; total: number}>()
  let unpacking = 0
  return {
    take({id, status, progressDetail}) {
      if (id === undefined) return
      if (status === 'Downloading') {
        layers.set(id, {current: progressDetail?.current ?? 0, total: progressDetail?.total ?? layers.get(id)?.total ?? 0})
      } else if (status === 'Download complete' || status === 'Extracting' || status === 'Pull complete') {
        const layer = layers.get(id)
        if (layer) layer.current = layer.total
        if (status === 'Extracting') unpacking = Date.now()
      }
    },
    say() {
      let current = 0
      let total = 0
      for (const layer of layers.values()) {
        current += layer.current
        total += layer.total
      }
      if (total === 0) return 'asking the registry'
      return current === total && unpacking > 0 ? `unpacking ${formatBytes(total)}` : `${formatBytes(current)} of ${formatBytes(total)}`
    },
  }
}

function translatePull(words: string, reference: ImageReference, cause?: unknown): DbaasError {
  const name = formatReference(reference)
  const details = {image: name, docker: words}
  const login = `docker login${reference.registry === 'docker.io' ? '' : ` ${reference.registry}`}`
  if (/no space left on device/i.test(words)) return translateWords({status: 500, words}, `pull ${name}`, cause)
  if (/toomanyrequests|rate limit/i.test(words)) {
    return new DbaasError('DOWNLOAD_FAILED', `the registry of ${name} refuses more downloads for now: ${words}`, {
      cause, details, suggestions: [login, 'set DBAAS_IMAGE_<ENGINE> to a mirror'],
    })
  }
  if (/pull access denied|unauthorized|authentication required|denied:/i.test(words)) {
    return new DbaasError('IMAGE_NOT_FOUND', `there is no image ${name}, or it needs a sign-in`, {cause, details, suggestions: [login, 'check the name given with --image']})
  }
  if (/not found|manifest unknown|name unknown|no matching manifest|invalid reference|does not exist/i.test(words)) {
    return new DbaasError('IMAGE_NOT_FOUND', `there is no image ${name}: ${words}`, {
      cause, details, suggestions: ['dbaas engines list', 'check the version, or the name given with --image'],
    })
  }
  return new DbaasError('DOWNLOAD_FAILED', `cannot pull ${name}: ${words}`, {
    cause, details, suggestions: [`docker pull ${name}`, 'set DBAAS_IMAGE_<ENGINE> to a mirror', 'docker load --input FILE'],
  })
}

interface Credentials {
  username?: string
  password?: string
  identitytoken?: string
  serveraddress: string
}

/** What `docker login` has written into its file. A credential helper is not asked: official images need none. */
async function credentialsFor(registry: string, env: Environment): Promise<Credentials | undefined> {
  const folder = configFolder(env)
  if (folder === undefined) return undefined
  const server = registry === 'docker.io' ? 'https://index.docker.io/v1/' : registry
  try {
    const {auths} = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as {auths?: Record<string, {auth?: string; identitytoken?: string}>}
    const entry = auths?.[server] ?? auths?.[`https://${server}`]
    if (entry?.identitytoken) return {identitytoken: entry.identitytoken, serveraddress: server}
    const [username, ...password] = Buffer.from(entry?.auth ?? '', 'base64').toString('utf8').split(':')
    return username ? {username, password: password.join(':'), serveraddress: server} : undefined
  } catch {
    return undefined
  }
}
