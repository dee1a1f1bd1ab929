/**
 * Images as the store of engines: the official ones, a mirror's (`DBAAS_IMAGE_MYSQL`), or the one a person names. What
 * is in an image is learnt by running it once, and an instance is pinned to the image's id.
 */
import type Docker from 'dockerode'
import {DbaasError} from '../../../core/errors.js'
import type {ImagePin} from '../../../core/instance/instance.js'
import type {EngineSoftware, RuntimeOptions} from '../options.js'
import type {InstalledVersion, SoftwareStore} from '../runtime.js'
import type {Client} from './client.js'
import {refusalOf} from './errors.js'
import {createImageRecords, type ImageRecord} from './image-records.js'
import {formatReference, parseReference, repositoryOf, sameRepository, type ImageReference} from './image-reference.js'
import {probeImage} from './probe.js'
import {pullImage} from './pull.js'

/** What a container made from the image has to undo. */
export interface ImageConfig {
  /** Names of the variables that the image sets. */
  readonly variables: readonly string[]
  /** Folders that it declares as volumes. */
  readonly volumes: readonly string[]
}

export interface Images extends SoftwareStore {
  /** Pulls the image again by its digest when somebody has removed it. Throws IMAGE_NOT_FOUND where that cannot be. */
  configOf(pin: ImagePin): Promise<ImageConfig>
  /** Whether that very image is here; it is not pulled. */
  has(pin: ImagePin): Promise<boolean>
  /** It was removed meanwhile: the next `configOf` looks again. */
  forget(pin: ImagePin): void
}

/** `18` fits `18.4`, not `180`; nothing asked fits everything. */
const fits = (asked: string, version: string): boolean => asked === '' || version === asked || version.startsWith(`${asked}.`)

const newestFirst = (a: InstalledVersion, b: InstalledVersion): number => b.version.localeCompare(a.version, 'en', {numeric: true})

export function createImages(client: Client, {engines, env, dataRoot, siteId, log}: RuntimeOptions): Images {
  const records = createImageRecords(dataRoot)
  const configs = new Map<string, ImageConfig>()
  const probing = new Map<string, Promise<ImageRecord>>()

  function softwareOf(engine: string): EngineSoftware {
    const found = engines[engine]
    if (!found) throw new DbaasError('UNKNOWN_ENGINE', `there is no engine "${engine}"`, {details: {engine}})
    return found
  }

  const inspect = (reference: string): Promise<Docker.ImageInspectInfo | undefined> =>
    client.find(`look for the image ${reference}`, (docker, abortSignal) => docker.getImage(reference).inspect({abortSignal} as object))

  /** Runs the image unless it is known. */
  function recordOf(engine: string, image: Docker.ImageInspectInfo, reference: string, pulledAs: string | null): Promise<ImageRecord> {
    const key = `${engine} ${image.Id}`
    const running = probing.get(key)
    if (running) return running
    const work = (async () => {
      const known = await records.get(engine, image.Id)
      if (known && (known.pulledAs !== null || pulledAs === null)) return known
      const probed = known ?? (await probeImage(client, siteId, {id: image.Id, reference, volumes: volumesOf(image)}, softwareOf(engine)))
      const record: ImageRecord = {engine, version: probed.version, bin: probed.bin, uid: probed.uid, gid: probed.gid, pulledAs}
      await records.put(image.Id, record)
      return record
    })().finally(() => probing.delete(key))
    probing.set(key, work)
    return work
  }

  function installedFrom(image: Docker.ImageInspectInfo, record: ImageRecord, reference: string): InstalledVersion | undefined {
    if (record.version === null) return undefined
    const {bin, uid, gid} = record
    configs.set(image.Id, {variables: variablesOf(image), volumes: volumesOf(image)})
    return {version: record.version, source: 'image', bin: reference, image: {reference, digest: digestOf(image, reference), id: image.Id, bin, uid, gid}}
  }

  /** Undefined when it is not here, and when it is no image of that engine. */
  async function look(engine: string, reference: string): Promise<InstalledVersion | undefined> {
    const image = await inspect(reference)
    if (!image) return undefined
    try {
      return installedFrom(image, await recordOf(engine, image, reference, null), reference)
    } catch (error) {
      if (!(error instanceof DbaasError) || error.code !== 'UNKNOWN_VERSION') throw error
      log('an image is not what its name says', {image: reference, because: error.message})
      return undefined
    }
  }

  /** The reference of a version where nobody names one. */
  function usual(engine: string, version: string): ImageReference {
    const {images, versions} = softwareOf(engine)
    const tag = images.tag(version === '' ? versions.default : version)
    const variable = `DBAAS_IMAGE_${engine.toUpperCase().replaceAll('-', '_')}`
    const mirror = env[variable]
    if (!mirror) return understood(`${images.repository}:${tag}`)
    const reference = understood(mirror.replaceAll('{version}', tag), ` (${variable})`)
    return reference.tag === null && reference.digest === null ? {...reference, tag} : reference
  }

  const locate: SoftwareStore['locate'] = async (engine, version, from = null) => {
    const wanted = from === null ? usual(engine, version) : understood(from)
    const exact = await look(engine, formatReference(wanted))
    if (exact && fits(version, exact.version)) return exact
    if (from !== null) return undefined
    return (await inRepository(engine, wanted)).filter((each) => fits(version, each.version)).sort(newestFirst)[0]
  }

  /** Every local image of that repository that is one of the engine. */
  async function inRepository(engine: string, repository: ImageReference): Promise<InstalledVersion[]> {
    const all = await client.call('list the images', (docker, abortSignal) => docker.listImages({abortSignal} as object))
    const found: InstalledVersion[] = []
    for (const image of all) {
      const tag = image.RepoTags?.find((each) => {
        const reference = parseReference(each)
        return reference !== undefined && sameRepository(reference, repository)
      })
      const version = tag === undefined ? undefined : await look(engine, tag)
      if (version && !found.some((each) => each.image?.id === version.image?.id)) found.push(version)
    }
    return found
  }

  const installed: SoftwareStore['installed'] = async (engine) => {
    const {images} = softwareOf(engine)
    const repositories = [usual(engine, ''), understood(images.repository)]
    const found = new Map<string, InstalledVersion>()
    for (const repository of repositories) {
      for (const each of await inRepository(engine, repository)) found.set(each.image?.id ?? '', each)
    }
    // and those that somebody named once
    for (const id of (await records.ofEngine(engine)).keys()) {
      if (found.has(id)) continue
      const image = await inspect(id)
      const record = image && (await records.get(engine, id))
      const version = image && record && installedFrom(image, record, image.RepoTags?.[0] ?? image.RepoDigests?.[0] ?? id)
      if (version) found.set(id, version)
    }
    return [...found.values()].sort(newestFirst)
  }

  const install: SoftwareStore['install'] = async (engine, {version, from, checksum}, progress, signal) => {
    const {title} = softwareOf(engine)
    const reference = from === null ? usual(engine, version) : understood(from)
    const name = formatReference(reference)
    const before = await inspect(name)
    await pullImage(client, env, reference, progress, signal)
    const image = await inspect(name)
    if (!image) throw new DbaasError('IMAGE_NOT_FOUND', `the image ${name} was pulled and is not there`, {details: {image: name}})
    try {
      if (checksum !== null && digestOf(image, name) !== checksum) {
        throw new DbaasError('INTEGRITY_MISMATCH', `the image ${name} has the digest ${digestOf(image, name)}, not ${checksum}`, {details: {image: name, expected: checksum}})
      }
      progress(`looking into ${name}`)
      const found = installedFrom(image, await recordOf(engine, image, name, before?.Id === image.Id ? null : name), name)
      if (found && fits(version, found.version)) return found
      throw new DbaasError('UNKNOWN_VERSION', `the image ${name} holds ${title} ${found?.version ?? 'of no known version'}, not ${version}`, {
        details: {image: name, version: found?.version ?? '', asked: version}, suggestions: [`--version ${found?.version ?? version}`, '--image another'],
      })
    } catch (error) {
      // what was pulled for nothing does not stay
      if (before?.Id !== image.Id) await discard(engine, image.Id, name).catch(() => undefined)
      throw error
    }
  }

  /** Only what `install` pulled: an image that was there before may be another program's. */
  const remove: SoftwareStore['remove'] = async (engine, version) => {
    let removed = 0
    const strange: string[] = []
    for (const [id, record] of await records.ofEngine(engine)) {
      if (record.version !== version) continue
      if (!(await inspect(id))) await records.remove(engine, id)
      else if (record.pulledAs === null) strange.push(id.slice('sha256:'.length).slice(0, 12))
      else {
        await discard(engine, id, record.pulledAs)
        removed++
      }
    }
    if (removed === 0 && strange.length > 0) {
      throw new DbaasError('INVALID_STATE', `the image of ${engine} ${version} was not pulled by dbaas, so it is not removed`, {
        details: {engine, version, images: strange.join(', ')}, suggestions: [`docker rmi ${strange.join(' ')}`],
      })
    }
  }

  async function discard(engine: string, id: string, reference: string): Promise<void> {
    await client.find(`remove the image ${reference}`, (docker, abortSignal) => docker.getImage(reference).remove({abortSignal} as object).catch((error: unknown) => {
      const refusal = refusalOf(error)
      if (refusal?.status !== 409) throw error
      throw new DbaasError('ENGINE_IN_USE', `the image ${reference} is in use: ${refusal.words}`, {cause: error, details: {image: reference}, suggestions: ['dbaas list', 'docker ps --all']})
    }))
    configs.delete(id)
    await records.remove(engine, id)
  }

  async function configOf(pin: ImagePin): Promise<ImageConfig> {
    const known = configs.get(pin.id)
    if (known) return known
    const image = (await inspect(pin.id)) ?? (await restore(pin))
    const config = {variables: variablesOf(image), volumes: volumesOf(image)}
    configs.set(pin.id, config)
    return config
  }

  async function restore(pin: ImagePin): Promise<Docker.ImageInspectInfo> {
    const named = parseReference(pin.reference)
    if (named && pin.digest !== null) {
      const byDigest = {...named, tag: null, digest: pin.digest}
      log('an image is gone; it is pulled again', {image: formatReference(byDigest)})
      await pullImage(client, env, byDigest, () => undefined, new AbortController().signal)
      const image = await inspect(formatReference(byDigest))
      if (image?.Id === pin.id) return image
    }
    throw new DbaasError('IMAGE_NOT_FOUND', `the image ${pin.reference} that the instance was made from is gone (${pin.id.slice(0, 19)})`, {
      details: {image: pin.reference, id: pin.id, digest: pin.digest ?? ''},
      suggestions: [pin.digest === null ? `docker load --input FILE, with the image ${pin.id.slice(0, 19)}` : `docker pull ${named ? repositoryOf(named) : pin.reference}@${pin.digest}`],
    })
  }

  return {onDemand: true, locate, installed, install, remove, configOf, has: async (pin) => (await inspect(pin.id)) !== undefined, forget: (pin) => void configs.delete(pin.id)}
}

function understood(text: string, where = ''): ImageReference {
  const reference = parseReference(text)
  if (reference) return reference
  throw new DbaasError('INVALID_REQUEST', `"${text}"${where} is not the name of an image`, {details: {image: text}, suggestions: ['--image postgres:18', '--image registry:5000/team/postgres:18']})
}

const variablesOf = (image: Docker.ImageInspectInfo): string[] => (image.Config.Env ?? []).map((each) => each.split('=')[0] as string)

const volumesOf = (image: Docker.ImageInspectInfo): string[] => Object.keys(image.Config.Volumes ?? {})

function digestOf(image: Docker.ImageInspectInfo, name: string): string | null {
  const wanted = parseReference(name)
  for (const each of image.RepoDigests ?? []) {
    const reference = parseReference(each)
    if (wanted && reference?.digest && sameRepository(reference, wanted)) return reference.digest
  }
  return null
}
