/** Puts right what has rotted in a repository, from a copy of it, or in a copy from its original. Needs no key. */
import {DbaasError} from '../../../core/errors.js'
import type {ObjectStore} from '../repository.js'
import {getIfThere} from './context.js'
import {openRepository} from './index.js'
import {ownMemory, type Pool} from './pool.js'
import type {Damage} from './verify.js'

export interface Repaired {
  readonly repaired: readonly string[]
  /** Those that the other one has no better of. */
  readonly left: readonly Damage[]
}

/** `names`: objects that `verify` or `scrub` has found damaged; those that are sound after all are left alone. Throws REPOSITORY_REFUSED when the two are not of one origin. */
export async function repairObjects(store: ObjectStore, other: ObjectStore, names: readonly string[], pool: Pool): Promise<Repaired> {
  const [id, otherId] = [await openRepository(store, 'read'), await openRepository(other, 'read')]
  if (id !== otherId) {
    throw new DbaasError('REPOSITORY_REFUSED', `${other.where} is no copy of the repository in ${store.where}`, {details: {repository: other.where}})
  }
  const repaired: string[] = []
  const left: Damage[] = []
  const read = async (from: ObjectStore, name: string): Promise<{because: string | undefined; content: Uint8Array}> => {
    const found = await getIfThere(from, name)
    if (found === undefined) return {because: 'it is not there', content: Buffer.alloc(0)}
    const {answer: {because, content}} = await pool.run({kind: 'intact', name, content: found}, ownMemory([found]))
    return {because, content}
  }
  for (const name of new Set(names)) {
    if ((await read(store, name)).because === undefined) continue
    const {because, content} = await read(other, name)
    if (because !== undefined) {
      left.push({object: name, because: `the other one is no better: ${because}`})
      continue
    }
    await store.put(name, content)
    repaired.push(name)
  }
  await store.barrier()
  return {repaired, left}
}
