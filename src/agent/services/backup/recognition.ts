/**
 * What repositories hold of an instance whose store was lost: every snapshot says what it is of. With it a store is rebuilt
 * as far as the master key opens what lies there; what it does not open stays, for a key that is put back later.
 */
import {isSealed, type BackupRecord, type BackupTrigger, type HistoryRecord} from '../../../core/backup/backup.js'
import {defaultPolicy} from '../../../core/backup/schedule.js'
import {DbaasError} from '../../../core/errors.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import type {KeptSnapshot} from '../../archiver/archiver.js'
import type {Tx} from '../../store/store.js'
import type {Recognised, RecognisedHistory} from '../protection.js'
import {enrol, newHistory} from './policies.js'
import type {BackupParts} from './parts.js'
import type {RepositoryBook} from './repositories.js'
import {factsOf} from './take.js'

export interface Recognition {
  /** Reads only. Repositories that do not answer are said, and hold nothing up. */
  look(instance: InstanceRecord, progress: (because: string) => void): Promise<Recognised>
  /** In a transaction: as `look` has found it, the instance is protected. Its incarnation becomes a new one where the key of the present one is not here. */
  enter(tx: Tx, instance: InstanceRecord, recognised: Recognised): Promise<void>
  /** After another key was put back, or that repository was added: what was not known before, of instances that are gone, too. How many backups. */
  lookAgain(progress: (because: string) => void, repository?: string): Promise<number>
}

type Owner = Pick<InstanceRecord, 'id' | 'tenantId' | 'name' | 'engine'>

/** What says that nothing can be known of what is there. */
export const unreadable: ReadonlySet<string> = new Set(['KEY_UNAVAILABLE', 'REPOSITORY_DAMAGED', 'INTEGRITY_MISMATCH'])

const dayMs = 86_400_000

/** The policy is lost with the store, and must not be thought shorter than it was: nothing that is there has had its time. */
function windowFor({snapshots}: RecognisedHistory, now: number): number {
  const oldest = Math.min(now, ...snapshots.filter(({about}) => about.label === null).map(({startedAt}) => startedAt))
  return Math.max(defaultPolicy.windowMs, Math.ceil((now - oldest) / dayMs) * dayMs)
}

export function createRecognition(parts: Pick<BackupParts, 'context' | 'archiver'>, repositories: RepositoryBook): Recognition {
  const {context, archiver} = parts
  const {store, clock} = context

  /** What lies in repositories and is of nobody that the store knows, or was never read; or is kept of that instance, which is there again. */
  async function unknown(progress: (because: string) => void, {instanceId, repository}: {instanceId?: string; repository?: string | undefined}): Promise<{repository: string; incarnation: string}[]> {
    const known = await store.read('platform', async (tx) => {
      const backups = await tx.backups.list()
      const isOpen = (h: HistoryRecord) => isSealed(h, backups) || (h.kept && h.instanceId === instanceId)
      return new Set((await tx.histories.list()).filter((h) => !isOpen(h)).map((h) => h.id))
    })
    const found = []
    for (const {name, copyOf} of await repositories.list()) {
      if (copyOf !== null || (repository !== undefined && name !== repository)) continue
      try {
        const place = await repositories.at(name)
        for (const incarnation of await archiver.incarnations(place)) if (!known.has(incarnation)) found.push({repository: name, incarnation})
      } catch (error) {
        // what is in it stays as it is
        progress(`the repository ${name} cannot be looked at: ${DbaasError.from(error).message}`)
        context.log('a repository cannot be looked at', {repository: name, error: String(error)})
      }
    }
    return found
  }

  async function read({repository, incarnation}: {repository: string; incarnation: string}): Promise<readonly KeptSnapshot[] | {readonly sealed: string}> {
    try {
      return await archiver.list(await repositories.place(repository, incarnation))
    } catch (error) {
      // a database must not stay down for its backups
      if (error instanceof DbaasError && unreadable.has(error.code)) return {sealed: error.message}
      throw error
    }
  }

  /** Of one that may be anybody's: what it holds matters to nobody who waits. */
  async function readAny(place: {repository: string; incarnation: string}): ReturnType<typeof read> {
    return read(place).catch((error: unknown) => {
      context.log('what a repository holds cannot be read', {...place, error: String(error)})
      return []
    })
  }

  const lastOf = (history: RecognisedHistory): number => Math.max(0, ...history.snapshots.map((s) => s.committedAt))

  function rowOf(instance: Owner, {incarnation, repository}: RecognisedHistory, snapshot: KeptSnapshot): BackupRecord {
    const {about, startedAt, committedAt} = snapshot
    return {
      id: about.backupId, tenantId: instance.tenantId, instanceId: instance.id, instanceName: about.instanceName, engine: about.engine, incarnation, repository,
      // whether the log goes from it to here is only known when that is read: `backups verify`
      line: null, trigger: about.trigger as BackupTrigger, status: 'completed', label: about.label,
      // how long it was to be kept is not known any more
      keepMs: null, encrypted: true, verifiedAt: null, createdAt: startedAt, completedAt: committedAt, expiresAt: null, ...factsOf(snapshot),
    }
  }

  async function insertRows(tx: Tx, instance: Owner, history: RecognisedHistory): Promise<void> {
    for (const snapshot of history.snapshots) if ((await tx.backups.get(snapshot.about.backupId)) === undefined) await tx.backups.insert(rowOf(instance, history, snapshot))
  }

  /** One that has ended. For how long it was to be kept is not known: until it is deleted by hand, or with its instance. */
  async function enterEnded(tx: Tx, owner: Owner, history: RecognisedHistory): Promise<void> {
    const record: HistoryRecord = {
      ...newHistory({...owner, incarnation: history.incarnation}, history.repository, history.snapshots[0]?.startedAt ?? clock.now()),
      system: history.snapshots.at(-1)?.base.system ?? null, endedAt: lastOf(history) || clock.now(), kept: true,
    }
    if (await tx.histories.get(record.id)) await tx.histories.update(record.id, {system: record.system, kept: true, repository: record.repository})
    else await tx.histories.insert(record)
    await insertRows(tx, owner, history)
  }

  return {
    async look(instance, progress) {
      const [own, former, sealed]: [RecognisedHistory[], RecognisedHistory[], {repository: string; because: string}[]] = [[], [], []]
      for (const place of await unknown(progress, {instanceId: instance.id})) {
        const isOwn = place.incarnation === instance.incarnation
        const found = await (isOwn ? read(place) : readAny(place))
        if ('sealed' in found) {
          if (isOwn) sealed.push({repository: place.repository, because: found.sealed})
        } else if (isOwn) own.push({...place, snapshots: found})
        else if (found.some(({about}) => about.instanceId === instance.id)) former.push({...place, snapshots: found})
      }
      // it may have moved from one to the other: the newest is where it was written to
      const [present] = own.sort((a, b) => lastOf(b) - lastOf(a))
      const recognised: Recognised = {present: present ?? null, former, sealed: present ? null : (sealed[0] ?? null)}
      const count = [...(present ? [present] : []), ...former].reduce((sum, {snapshots}) => sum + snapshots.length, 0)
      if (count > 0) progress(`${count} of its backups ${count === 1 ? 'is' : 'are'} here`)
      if (recognised.sealed) progress(`its backups of before cannot be read without the key of the lost site: ${recognised.sealed.because}`)
      return recognised
    },
    async enter(tx, instance, {present, former, sealed}) {
      const now = clock.now()
      const incarnation = sealed ? context.newId('event').slice(4) : instance.incarnation
      if (sealed) {
        const left: HistoryRecord = {...newHistory(instance, sealed.repository, instance.createdAt), endedAt: now, kept: true}
        if ((await tx.histories.get(left.id)) === undefined) await tx.histories.insert(left)
        await tx.instances.update(instance.id, {incarnation})
        await tx.event({
          id: context.newId('event'), tenantId: instance.tenantId, type: 'backup.sealed', subject: instance.id, payload: {incarnation: left.id, repository: sealed.repository, because: sealed.because}, at: now,
        })
      }
      await enrol(context, tx, {...instance, incarnation}, {enabled: true, repository: (present ?? sealed)?.repository, ...(present ? {windowMs: windowFor(present, now)} : {})})
      if (present) {
        await tx.histories.update(incarnation, {
          repository: present.repository, system: present.snapshots.at(-1)?.base.system ?? null, beganAt: present.snapshots[0]?.startedAt ?? now, endedAt: null, kept: false,
        })
        await insertRows(tx, instance, present)
      }
      for (const history of former) await enterEnded(tx, instance, history)
    },
    async lookAgain(progress, repository) {
      let count = 0
      for (const place of await unknown(progress, {repository})) {
        const found = await readAny(place)
        if ('sealed' in found || found.length === 0) continue
        await store.transact('platform', async (tx) => {
          const [{about}] = found as [KeptSnapshot]
          const history = await tx.histories.get(place.incarnation)
          // it was begun since
          if (history && !history.kept) return
          const instance = await tx.instances.find(history?.instanceId ?? about.instanceId)
          // of one that is deleted, or was never here: it can be restored by its name
          const owner: Owner = instance ?? {id: history?.instanceId ?? about.instanceId, tenantId: history?.tenantId ?? 'default', name: about.instanceName, engine: about.engine}
          await enterEnded(tx, owner, {...place, snapshots: found})
          count += found.length
        })
      }
      if (count > 0) progress(`${count} ${count === 1 ? 'backup' : 'backups'} of before can be read again`)
      return count
    },
  }
}
