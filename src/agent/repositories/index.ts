/** Repositories by the record that a person's configuration has of each. */
import {DbaasError} from '../../core/errors.js'
import {nearest} from '../../core/nearest.js'
import {isRepositoryKind, repositoryKinds, type RepositoryKind} from './names.js'
import type {ObjectStore} from './repository.js'
import type {Settings} from './settings.js'
import {openRepository, type Access} from './vault/index.js'

/** `hurried`: somebody waits for the answer, and hears what is wrong after a few seconds. Else bad minutes of a server are waited out. */
export type Patience = 'patient' | 'hurried'

interface KindEntry {
  /** Names of settings that are secret: to be kept sealed, and never shown. */
  readonly secrets: readonly string[]
  /** What a person's word for the place says of its settings. Throws INVALID_REQUEST. */
  locate(location: string): Settings
  /** Asks nothing of the place itself. Throws INVALID_REQUEST. */
  open(settings: Settings, patience: Patience): Promise<ObjectStore>
}

/** One line for each kind; a name without one does not compile. Loaded when first used. */
const kinds = {
  directory: {secrets: [], locate: (path) => ({path}), open: async (settings) => (await import('./directory/index.js')).openConfiguredDirectory(settings)},
  s3: {secrets: ['secretAccessKey', 'sessionToken'], locate: locateBucket, open: async (settings, patience) => (await import('./s3/index.js')).openConfiguredS3(settings, patience === 'hurried' ? {pace: {patienceMs: 5000}} : {})},
} satisfies Record<RepositoryKind, KindEntry>

export interface RepositoryRecord {
  /** How a person calls it. */
  readonly name: string
  readonly kind: string
  /** Secrets in the clear. */
  readonly settings: Settings
  /** What `openNamed` has answered before; null: never opened yet. */
  readonly id: string | null
}

export interface OpenedRepository {
  readonly name: string
  readonly id: string
  readonly store: ObjectStore
}

/** Throws INVALID_REQUEST when there is no such kind. */
export function kindNamed(text: string): RepositoryKind {
  if (isRepositoryKind(text)) return text
  const near = nearest(text, repositoryKinds)
  throw new DbaasError('INVALID_REQUEST', `there is no repository of kind "${text}"`, {
    details: {kind: text}, suggestions: [near ? `did you mean ${near}?` : `the kinds are ${repositoryKinds.join(', ')}`],
  })
}

function locateBucket(location: string): Settings {
  const [, bucket, prefix] = /^s3:\/\/([^/?#@\s]+)(?:\/([^?#\s]*))?$/.exec(location) ?? []
  if (bucket === undefined) throw new DbaasError('INVALID_REQUEST', `"${location}" is not the address of a bucket`, {details: {location}, suggestions: ['write it like s3://bucket/prefix']})
  return {bucket, ...(prefix ? {prefix} : {})}
}

export interface Described {
  readonly kind: RepositoryKind
  readonly location: string
  readonly settings: Readonly<Record<string, string | boolean>>
  readonly secrets: Readonly<Record<string, string>>
}

export interface AskedRepository {
  readonly kind?: string | undefined
  readonly location: string
  readonly settings: Readonly<Record<string, string | boolean>>
  /** All settings that it has, secrets in the clear, when it is to be changed: they stay where no other is asked for. */
  readonly before?: Readonly<Record<string, string | boolean>>
}

/** A repository as a person asks for it, checked, its secrets apart. Asks nothing of the place. Throws INVALID_REQUEST, and what a kind refuses. */
export async function describeRepository(asked: AskedRepository): Promise<Described> {
  const kind = kindNamed(asked.kind ?? (/^[a-z0-9]+:\/\//i.exec(asked.location)?.[0].slice(0, -3).toLowerCase() ?? 'directory'))
  const located = kinds[kind].locate(asked.location) as Record<string, string>
  const twice = Object.keys(located).find((name) => name in asked.settings)
  if (twice !== undefined) throw new DbaasError('INVALID_REQUEST', `the setting "${twice}" of a repository of kind ${kind} is in its location`, {details: {setting: twice, kind}})
  const all = {...asked.before, ...asked.settings, ...located}
  await storeOf({kind, settings: all})
  const isSecret = (name: string): boolean => secretSettings(kind).includes(name)
  return {
    kind, location: asked.location,
    settings: Object.fromEntries(Object.entries(all).filter(([name]) => !isSecret(name))),
    secrets: Object.fromEntries(Object.entries(all).flatMap(([name, value]) => (isSecret(name) ? [[name, String(value)]] : []))),
  }
}

export const secretSettings = (kind: RepositoryKind): readonly string[] => kinds[kind].secrets

/** The place alone, whatever is in it: to make a copy there. Throws INVALID_REQUEST. */
export const storeOf = async ({kind, settings}: Pick<RepositoryRecord, 'kind' | 'settings'>, patience: Patience = 'patient'): Promise<ObjectStore> =>
  kinds[kindNamed(kind)].open(settings, patience)

/**
 * Opens the repository of the record: a new one is made only where the record has none yet, so that a disk that is not
 * mounted, or the bucket of another site, is never taken for it. `read`: nothing is written, not even to see whether that
 * can be done; for a restore from a copy, or from a disk that is mounted to be read. Throws INVALID_REQUEST and what `openRepository` throws.
 */
export async function openNamed(record: RepositoryRecord, access: Access = 'write'): Promise<OpenedRepository> {
  const store = await storeOf(record)
  return {name: record.name, id: await openRepository(store, access, record.id), store}
}
