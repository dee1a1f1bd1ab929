/** The door of repositories: where backups can be kept, and copies of that. */
import {authorize, type Principal} from '../../../core/access/principal.js'
import type {ApiRepository, BodyOf} from '../../../core/api/schemas.js'
import type {RepositoryRecord} from '../../../core/backup/backup.js'
import {DbaasError} from '../../../core/errors.js'
import {checkName} from '../../../core/instance/names.js'
import type {DescribedRepository, RepositoryPlace} from '../../archiver/archiver.js'
import type {Tx} from '../../store/store.js'
import type {BackupsApi} from '../contract.js'
import {planView} from '../operation-view.js'
import type {Followers} from './log.loop.js'
import type {BackupParts} from './parts.js'
import {unreadable, type Recognition} from './recognition.js'
import {localRepository, type RepositoryBook} from './repositories.js'
import {repositoryView} from './views.js'

export interface RepositoryServiceOptions extends Pick<BackupParts, 'context' | 'archiver'> {
  readonly repositories: RepositoryBook
  readonly recognition: Pick<Recognition, 'lookAgain'>
  readonly followers: Pick<Followers, 'poke'>
}

const placeOf = ({kind, location, settings, secrets}: DescribedRepository, access: RepositoryPlace['access']): RepositoryPlace => ({kind, location, settings: {...settings, ...secrets}, id: null, access})

/** Throws INVALID_STATE: what is in a repository is found by it alone. */
function refuseUsed(name: string, {instances, histories, copies}: {instances: readonly string[]; histories: readonly string[]; copies: readonly string[]}): void {
  const refuse = (because: string, ...suggestions: string[]) => {
    throw new DbaasError('INVALID_STATE', `the repository ${name} is in use: ${because}`, {details: {repository: name}, suggestions})
  }
  const [history] = histories
  if (name === localRepository) refuse('it is the default one of this site', 'dbaas repositories list')
  if (copies.length > 0) refuse(`${copies.join(', ')} is a copy of it`, ...copies.map((copy) => `dbaas repositories remove ${copy}`))
  if (history !== undefined) refuse(`it has backups of ${[...new Set(histories)].join(', ')}`, `dbaas backups list ${history}`)
  if (instances.length > 0) refuse(`backups of ${instances.length} instance${instances.length > 1 ? 's' : ''} are to be kept in it`, 'dbaas backups schedule NAME --repository OTHER')
}

export function createRepositoryService({context, archiver, repositories, recognition, followers}: RepositoryServiceOptions): Pick<BackupsApi, 'repositories' | 'addRepository' | 'updateRepository' | 'promoteRepository' | 'removeRepository' | 'checkRepository'> {
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
      if (body.copy_of !== undefined && body.copy_to !== undefined) {
        throw new DbaasError('INVALID_REQUEST', 'a copy of a copy would be of nobody knows when', {suggestions: ['copy_of or copy_to, not both']})
      }
      if (body.promote && (body.copy_of !== undefined || body.copy_to !== undefined)) {
        throw new DbaasError('INVALID_REQUEST', 'what becomes a repository of its own is a copy of none', {suggestions: ['add it with promote alone; a copy of it is another repository, with copy_of']})
      }
      const described = await archiver.describe({kind: body.kind, location: body.location, settings: body.settings ?? {}})
      const of = body.copy_of === undefined ? null : await original(body.copy_of)
      const copyName = `${body.name}-copy`
      const copy = body.copy_to === undefined ? null : await archiver.describe({kind: described.kind, location: body.copy_to, settings: body.settings ?? {}})
      if (copy) checkName(copyName)
      refuseTaken(await repositories.list(), body.name, null)
      if (copy) refuseTaken(await repositories.list(), copyName, null)
      if (body.plan) return {plan: planView({steps: ['check', ...(of || copy ? ['begin-copy'] : []), ...(body.promote ? ['promote'] : []), 'add'], impact: 'none', expected_downtime_ms: 0})}
      const place = placeOf(described, of ? 'read' : 'write')
      if (body.promote) await archiver.promote({...place, access: 'read'})
      const {id} = of ? await begin(of.name, place) : await archiver.prepare(place)
      if (copy) await archiver.beginCopy({...place, id}, placeOf(copy, 'read'))
      const now = clock.now()
      const record = (name: string, {kind, location, settings}: DescribedRepository, copyOf: string | null): RepositoryRecord => ({
        name, tenantId: principal.tenantId, kind, location, settings, repositoryId: id, copyOf, copiedAt: null, copyBecause: null,
        copyFailedAt: null, status: 'ok', because: null, checkedAt: now, createdAt: now,
      })
      const added = record(body.name, described, of?.name ?? null)
      refuseTaken(await repositories.list(), body.name, of ? null : id)
      await store.transact({tenant: principal.tenantId}, async (tx) => {
        for (const [each, {secrets}] of [[added, described] as const, ...(copy ? [[record(copyName, copy, body.name), copy] as const] : [])]) {
          await tx.repositories.insert(each)
          await keepSecrets(principal, tx, each.name, secrets)
          await audit(principal, tx, 'repositories.add', each)
        }
      })
      const found = await recognition.lookAgain(() => undefined, body.name)
      return {repository: await view(added), backups_found: found}
    },
    async updateRepository(principal, name, body) {
      authorize(principal, 'update', `repository/${name}`)
      context.mayChange()
      const before = await repositories.get(name)
      const {kind, location, settings, id, access} = await repositories.at(name)
      const {sessionToken, ...lasting} = settings
      // a token goes with its key
      const old = sessionToken === undefined || 'accessKeyId' in body.settings ? lasting : settings
      const described = await archiver.describe({kind, location, settings: body.settings, before: old})
      if (body.plan) return {plan: planView({steps: ['check', 'update'], impact: 'none', expected_downtime_ms: 0})}
      // what does not lead to the same repository is not kept
      await archiver.prepare({...placeOf(described, access), id})
      await store.transact({tenant: principal.tenantId}, async (tx) => {
        await tx.repositories.update(name, {settings: described.settings, status: 'ok', because: null, checkedAt: clock.now()})
        await tx.secrets.removeAll(repositories.secretsOf(name))
        await keepSecrets(principal, tx, name, described.secrets)
        await audit(principal, tx, 'repositories.update', before, {changed: Object.keys(body.settings)})
      })
      return {repository: await view(await repositories.get(name))}
    },
    async promoteRepository(principal, name, {plan}) {
      authorize(principal, 'update', `repository/${name}`)
      context.mayChange()
      const copy = await repositories.get(name)
      const {copyOf: original} = copy
      if (original === null) throw new DbaasError('INVALID_STATE', `${name} is a repository of its own already`, {details: {repository: name}, suggestions: ['dbaas repositories list']})
      // what is written to the two of them from now on would never come together
      const answers = await repositories.at(original).then((place) => archiver.prepare(place)).then(() => true, () => false)
      if (answers) {
        throw new DbaasError('INVALID_STATE', `${original} answers: its copy takes its place only when it is lost`, {
          details: {repository: name, original}, suggestions: [`dbaas repositories check ${original}`, `unmount or move ${original} first, if it is to be left`],
        })
      }
      if (plan) return {plan: planView({steps: ['check', 'promote', 'move'], impact: 'none', expected_downtime_ms: 0, reversible: false})}
      await archiver.promote(await repositories.at(name))
      const there = new Set<string>()
      for (const history of await store.read('platform', (tx) => tx.histories.list())) {
        if (history.repository !== original || history.shredded) continue
        for (const {about} of await kept(name, history.id)) there.add(about.backupId)
      }
      const lost = await store.transact('platform', async (tx) => {
        await tx.repositories.update(name, {copyOf: null, copiedAt: null, copyBecause: null, copyFailedAt: null, status: 'ok', because: null, checkedAt: clock.now()})
        for (const other of await tx.repositories.list()) if (other.copyOf === original) await tx.repositories.update(other.name, {copyOf: name})
        for (const history of await tx.histories.list()) if (history.repository === original) await tx.histories.update(history.id, {repository: name})
        for (const policy of await tx.policies.list()) if (policy.repository === original) await tx.policies.put({...policy, repository: name, updatedAt: clock.now()})
        let missing = 0
        // the next ones will have the numbers that theirs had
        for (const backup of await tx.backups.list()) {
          if (backup.repository !== original) continue
          const isGone = backup.status === 'completed' && !there.has(backup.id)
          await tx.backups.update(backup.id, {repository: name, ...(isGone ? {status: 'damaged', because: `it was not copied yet when ${original} was lost`, snapshot: null} : {})})
          if (isGone) missing++
        }
        await tx.event({
          id: context.newId('event'), tenantId: copy.tenantId, type: 'repository.promoted', subject: name, payload: {original, backups_lost: missing}, at: clock.now(),
        })
        await audit(principal, tx, 'repositories.promote', copy)
        return missing
      })
      followers.poke()
      return {repository: await view(await repositories.get(name)), backups_lost: lost}
    },
    async removeRepository(principal, name) {
      authorize(principal, 'delete', `repository/${name}`)
      context.mayChange()
      const found = await repositories.get(name)
      await store.transact({tenant: principal.tenantId}, async (tx) => {
        const own = (await tx.histories.list()).filter((history) => history.repository === name)
        const instances = new Set((await tx.instances.list()).map(({id}) => id))
        refuseUsed(name, {
          instances: (await tx.policies.list()).filter((policy) => policy.repository === name).map((policy) => policy.instanceId),
          histories: own.filter((history) => !history.shredded && instances.has(history.instanceId)).map((history) => history.instanceName),
          copies: (await tx.repositories.list()).filter((each) => each.copyOf === name).map((each) => each.name),
        })
        // of databases that are gone: who adds it again finds them again
        for (const {id} of own) {
          for (const backup of await tx.backups.list({incarnation: id})) await tx.backups.remove(backup.id)
          await tx.histories.remove(id)
        }
        await tx.repositories.remove(name)
        await tx.secrets.removeAll(repositories.secretsOf(name))
        await audit(principal, tx, 'repositories.remove', found)
      })
    },
    async checkRepository(principal, name) {
      authorize(principal, 'check', `repository/${name}`)
      const place = await repositories.at(name)
      await repositories.through(name, () => archiver.prepare(place))
      return view(await repositories.get(name))
    },
  }

  /** What was never written to, and what is sealed, has nothing that can be told. */
  async function kept(name: string, incarnation: string) {
    return archiver.list(await repositories.place(name, incarnation)).catch((error: unknown) => {
      if (error instanceof DbaasError && unreadable.has(error.code)) return []
      throw error
    })
  }

  /** The original is one that answers, and has been made. */
  async function begin(of: string, place: RepositoryPlace): Promise<{readonly id: string}> {
    const from = await repositories.at(of)
    await repositories.through(of, () => archiver.prepare(from))
    return archiver.beginCopy(from, place)
  }

  async function keepSecrets(principal: Principal, tx: Tx, name: string, secrets: Readonly<Record<string, string>>): Promise<void> {
    const owner = repositories.secretsOf(name)
    await tx.secrets.put(principal.tenantId, owner, 'names', JSON.stringify(Object.keys(secrets)))
    for (const [key, value] of Object.entries(secrets)) await tx.secrets.put(principal.tenantId, owner, key, value)
  }

  async function audit(principal: Principal, tx: Tx, action: string, record: RepositoryRecord, more: Readonly<Record<string, readonly string[]>> = {}): Promise<void> {
    await tx.audit({
      id: context.newId('audit'), at: clock.now(), tenantId: principal.tenantId, actor: principal.id, source: principal.source, action,
      resource: `repository/${record.name}`, result: 'succeeded', requestId: principal.requestId,
      details: {kind: record.kind, location: record.location, ...(record.copyOf === null ? {} : {copy_of: record.copyOf}), ...more},
    })
  }
}
