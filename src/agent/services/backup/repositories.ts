/** Repositories as the store knows them: where they are, and whether they answer. */
import type {RepositoryRecord} from '../../../core/backup/backup.js'
import {graces} from '../../../core/backup/protection.js'
import {createSpells} from '../../../core/backup/spells.js'
import {DbaasError} from '../../../core/errors.js'
import {nearest} from '../../../core/nearest.js'
import type {Archiver, RepositoryPlace} from '../../archiver/archiver.js'
import type {ServiceContext} from '../context.js'
import type {Repositories} from './parts.js'

export const localRepository = 'local'

const secretsOf = (name: string): string => `repository:${name}`

/** What says that the repository is not as it should be, and not that the work was wrong. */
const failures: ReadonlySet<string> = new Set(['REPOSITORY_UNAVAILABLE', 'REPOSITORY_REFUSED', 'REPOSITORY_NEWER', 'DISK_FULL', 'KEY_UNAVAILABLE'])

export interface RepositoryBook extends Repositories {
  /** Throws REPOSITORY_NOT_FOUND with the nearest name. */
  get(name: string): Promise<RepositoryRecord>
  list(): Promise<RepositoryRecord[]>
  /** One that backups can be kept in. Throws REPOSITORY_NOT_FOUND, INVALID_REQUEST for a copy. */
  own(name: string): Promise<RepositoryRecord>
  /** Where it is, with its secrets. Throws REPOSITORY_NOT_FOUND. */
  at(name: string): Promise<RepositoryPlace>
  /** How its secrets are sealed. */
  readonly secretsOf: (name: string) => string
}

export function createRepositories(context: ServiceContext, archiver: Pick<Archiver, 'prepare'>, localPath: string): RepositoryBook {
  const {store, clock} = context
  const spells = createSpells(graces.repositoryMs)

  /** The default one is a folder of the site; it is there from its first use on. */
  async function ensureLocal(): Promise<RepositoryRecord> {
    const known = await store.read('platform', (tx) => tx.repositories.get(localRepository))
    if (known) return known
    const record: RepositoryRecord = {
      name: localRepository, tenantId: 'default', kind: 'directory', location: localPath, settings: {path: localPath}, repositoryId: null, copyOf: null,
      copiedAt: null, copyBecause: null, copyFailedAt: null, status: 'unknown', because: null, checkedAt: null, createdAt: clock.now(),
    }
    return store.transact('platform', async (tx) => {
      const made = await tx.repositories.get(localRepository)
      if (made) return made
      await tx.repositories.insert(record)
      return record
    })
  }

  async function get(name: string): Promise<RepositoryRecord> {
    if (name === localRepository) return ensureLocal()
    const {found, names} = await store.read('platform', async (tx) => ({found: await tx.repositories.get(name), names: (await tx.repositories.list()).map((r) => r.name)}))
    if (found) return found
    const near = nearest(name, [localRepository, ...names])
    throw new DbaasError('REPOSITORY_NOT_FOUND', `there is no repository "${name}"`, {
      details: {repository: name}, suggestions: [...(near ? [`did you mean ${near}?`] : []), 'dbaas repositories list'],
    })
  }

  async function note(name: string, problem: string | null): Promise<void> {
    const before = await get(name)
    const status = problem === null ? 'ok' : 'unavailable'
    if (before.status === status && before.because === problem) return
    const now = clock.now()
    if (problem === null) spells.ended(name, now)
    const since = problem === null ? now : spells.began(name, now)
    await store.transact('platform', async (tx) => {
      // since when it is so, not when it was last said
      await tx.repositories.update(name, {status, because: problem, ...(before.status === status ? {} : {checkedAt: since})})
      if (before.status === status || (before.status === 'unknown' && problem === null)) return
      await tx.event({
        id: context.newId('event'), tenantId: before.tenantId, type: problem === null ? 'repository.recovered' : 'repository.unavailable', subject: name,
        payload: {because: problem}, at: now,
      })
    })
  }

  async function at(name: string): Promise<RepositoryPlace> {
    const {kind, location, settings, repositoryId, copyOf} = await get(name)
    const secrets = await store.read('platform', async (tx) => {
      const names = JSON.parse((await tx.secrets.get(secretsOf(name), 'names')) ?? '[]') as string[]
      return Object.fromEntries(await Promise.all(names.map(async (each) => [each, (await tx.secrets.get(secretsOf(name), each)) ?? ''] as const)))
    })
    return {kind, location, settings: {...settings, ...secrets}, id: repositoryId, access: copyOf === null ? 'write' : 'read'}
  }

  /** The default one is made by its first backup; from then on no other is taken for it. */
  async function learn(name: string): Promise<void> {
    if ((await get(name)).repositoryId !== null) return
    const {id} = await archiver.prepare(await at(name))
    await store.transact('platform', (tx) => tx.repositories.update(name, {repositoryId: id}))
  }

  return {
    get, at, secretsOf,
    async own(name) {
      const found = await get(name)
      if (found.copyOf === null) return found
      throw new DbaasError('INVALID_REQUEST', `${name} is a copy, of ${found.copyOf}: backups are not kept in it by themselves`, {
        details: {repository: name}, suggestions: [`keep them in ${found.copyOf}`],
      })
    },
    async list() {
      await ensureLocal()
      return store.read('platform', (tx) => tx.repositories.list())
    },
    async place(name, incarnation) {
      return {repository: await at(name), incarnation}
    },
    async through(name, work) {
      try {
        const result = await work()
        await note(name, null)
        await learn(name).catch(() => undefined)
        return result
      } catch (error) {
        if (error instanceof DbaasError && failures.has(error.code)) await note(name, error.message)
        throw error
      }
    },
  }
}
