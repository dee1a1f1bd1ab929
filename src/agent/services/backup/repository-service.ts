/** The door of repositories: where backups can be kept, and copies of that. */
import {authorize, type Principal} from '../../../core/access/principal.js'
import type {ApiRepository, BodyOf} from '../../../core/api/schemas.js'
import type {RepositoryRecord} from '../../../core/backup/backup.js'
import {DbaasError} from '../../../core/errors.js'
import {checkName} from '../../../core/instance/names.js'
import type {RepositoryPlace} from '../../archiver/archiver.js'
import type {BackupsApi} from '../contract.js'
import {planView} from '../operation-view.js'
import type {BackupParts} from './parts.js'
import type {RepositoryBook} from './repositories.js'
import {repositoryView} from './views.js'

export interface RepositoryServiceOptions extends Pick<BackupParts, 'context' | 'archiver'> {
  readonly repositories: RepositoryBook
}

export function createRepositoryService({context, archiver, repositories}: RepositoryServiceOptions): Pick<BackupsApi, 'repositories' | 'addRepository' | 'checkRepository'> {
  const {store, clock} = context

  const view = async (record: RepositoryRecord): Promise<ApiRepository> => repositoryView(record, await store.read('platform', (tx) => tx.backups.list()), clock.now())

  /** Throws INVALID_REQUEST: a copy of a copy would be of nobody knows when. */
  async function original(name: string): Promise<RepositoryRecord> {
    const found = await repositories.get(name)
    if (found.copyOf === null) return found
    throw new DbaasError('INVALID_REQUEST', `${name} is a copy itself, of ${found.copyOf}`, {details: {repository: name}, suggestions: [`--copy-of ${found.copyOf}`]})
  }

  function refuseTaken(all: readonly RepositoryRecord[], name: string, id: string | null): void {
    if (all.some((r) => r.name === name)) {
      throw new DbaasError('NAME_IN_USE', `there already is a repository "${name}"`, {details: {name}, suggestions: ['dbaas repositories list', 'choose another name']})
    }
    const same = all.find((r) => r.copyOf === null && id !== null && r.repositoryId === id)
    if (same) throw new DbaasError('INVALID_REQUEST', `that is the repository ${same.name} already`, {details: {repository: same.name}, suggestions: ['dbaas repositories list']})
  }

  return {
    async repositories(principal) {
      authorize(principal, 'list', 'repository')
      return Promise.all((await repositories.list()).map(view))
    },
    async addRepository(principal, body: BodyOf<'repositories.add'>) {
      authorize(principal, 'create', 'repository')
      context.mayChange()
      checkName(body.name)
      const {kind, location, settings, secrets} = await archiver.describe({kind: body.kind, location: body.location, settings: body.settings ?? {}})
      const of = body.copy_of === undefined ? null : await original(body.copy_of)
      refuseTaken(await repositories.list(), body.name, null)
      if (body.plan) return {plan: planView({steps: ['check', ...(of ? ['begin-copy'] : []), 'add'], impact: 'none', expected_downtime_ms: 0})}
      const place: RepositoryPlace = {kind, location, settings: {...settings, ...secrets}, id: null, access: of ? 'read' : 'write'}
      const {id} = of ? await begin(of.name, place) : await archiver.prepare(place)
      const now = clock.now()
      const record: RepositoryRecord = {
        name: body.name, tenantId: principal.tenantId, kind, location, settings, repositoryId: id, copyOf: of?.name ?? null, copiedAt: null, copyBecause: null,
        copyFailedAt: null, status: 'ok', because: null, checkedAt: now, createdAt: now,
      }
      refuseTaken(await repositories.list(), body.name, of ? null : id)
      await store.transact({tenant: principal.tenantId}, async (tx) => {
        await tx.repositories.insert(record)
        const owner = repositories.secretsOf(record.name)
        await tx.secrets.put(principal.tenantId, owner, 'names', JSON.stringify(Object.keys(secrets)))
        for (const [name, value] of Object.entries(secrets)) await tx.secrets.put(principal.tenantId, owner, name, value)
        await audit(principal, tx, record)
      })
      return {repository: await view(record)}
    },
    async checkRepository(principal, name) {
      authorize(principal, 'check', `repository/${name}`)
      const place = await repositories.at(name)
      await repositories.through(name, () => archiver.prepare(place))
      return view(await repositories.get(name))
    },
  }

  /** The original is one that answers, and has been made. */
  async function begin(of: string, place: RepositoryPlace): Promise<{readonly id: string}> {
    const from = await repositories.at(of)
    await repositories.through(of, () => archiver.prepare(from))
    return archiver.beginCopy(from, place)
  }

  async function audit(principal: Principal, tx: Parameters<Parameters<typeof store.transact>[1]>[0], record: RepositoryRecord): Promise<void> {
    await tx.audit({
      id: context.newId('audit'), at: clock.now(), tenantId: principal.tenantId, actor: principal.id, source: principal.source, action: 'repositories.add',
      resource: `repository/${record.name}`, result: 'succeeded', requestId: principal.requestId,
      details: {kind: record.kind, location: record.location, ...(record.copyOf === null ? {} : {copy_of: record.copyOf})},
    })
  }
}
