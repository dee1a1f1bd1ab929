/** Another master key for a whole repository, and data keys that are taken out of it and brought back. */
import {DbaasError} from '../../../core/errors.js'
import type {ObjectStore} from '../repository.js'
import {incarnations} from './incarnations.js'
import {hasDataKey, openDataKeys, rewrapDataKey, wrapAgain, type DataKeys} from './keys.js'
import type {MasterKey} from './master-key.js'

export interface Rotated {
  /** Incarnations whose data key was wrapped anew. */
  readonly rewrapped: readonly string[]
  /** Those that the new master key opened before. */
  readonly already: readonly string[]
  /** Those whose data key neither of the two opens: they are as they were. */
  readonly failed: readonly {readonly incarnation: string; readonly because: string}[]
}

/**
 * Wraps the data keys of all incarnations by the master key `to`. Nothing else is written, whatever the size of the
 * repository. Run again after a crash it ends the same. While it runs, and until it has answered without failures, both
 * keys are needed: see `openDataKeysByAny`; who makes new incarnations must use `to` from before it begins. Throws
 * KEY_UNAVAILABLE when one of the two cannot be had.
 */
export async function rotateMasterKey(store: ObjectStore, repositoryId: string, from: MasterKey, to: MasterKey): Promise<Rotated> {
  const [old, next] = [await loaded(from), await loaded(to)]
  const rewrapped: string[] = []
  const already: string[] = []
  const failed: {incarnation: string; because: string}[] = []
  for (const incarnation of await incarnations(store)) {
    // Destroyed, and not swept yet.
    if (!(await hasDataKey(store, incarnation))) continue
    try {
      const isNew = await rewrapDataKey(store, repositoryId, incarnation, old, next)
      ;(isNew ? rewrapped : already).push(incarnation)
    } catch (error) {
      if (!isOfKey(error)) throw error
      failed.push({incarnation, because: error.message})
    }
  }
  return {rewrapped, already, failed}
}

/** Opens by the first of the master keys that does: while a rotation is under way there are two. Throws what the first one throws. */
export async function openDataKeysByAny(store: ObjectStore, repositoryId: string, incarnation: string, masters: readonly MasterKey[]): Promise<DataKeys> {
  const problems: unknown[] = []
  for (const master of masters) {
    try {
      return await openDataKeys(store, repositoryId, incarnation, master)
    } catch (error) {
      if (!isOfKey(error)) throw error
      problems.push(error)
    }
  }
  throw problems[0] ?? new DbaasError('KEY_UNAVAILABLE', 'there is no master key')
}

/**
 * Brings a data key back that was exported (`DataKeys.data`): the wrapped copy was damaged, or the master key is lost.
 * Says whether there was anything to do. What was wrapped before is left: it may be of use to who has its master key.
 */
export async function restoreDataKey(store: ObjectStore, keys: DataKeys, master: MasterKey): Promise<boolean> {
  const {repositoryId, incarnation} = keys
  const opened = await openDataKeys(store, repositoryId, incarnation, master).catch((error: unknown) => {
    if (!isOfKey(error)) throw error
  })
  if (opened) {
    if (opened.data.equals(keys.data)) return false
    throw new DbaasError('REPOSITORY_REFUSED', `the repository has another key of ${incarnation}`, {details: {incarnation}})
  }
  await wrapAgain(store, keys, master)
  return true
}

const isOfKey = (error: unknown): error is DbaasError =>
  error instanceof DbaasError && (error.code === 'KEY_UNAVAILABLE' || error.code === 'REPOSITORY_DAMAGED')

/** Asked once for all incarnations: a command may take a second. */
async function loaded({where, load}: MasterKey): Promise<MasterKey> {
  const key = await load()
  return {where, load: async () => key}
}
