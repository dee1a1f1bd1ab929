/** What a repository holds, by incarnation; no key is needed for it. */
import {listAll, type ObjectStore} from '../repository.js'
import {destroyDataKey} from './keys.js'

/** Incarnations that have something in the repository, by their ids. */
export async function incarnations(store: ObjectStore): Promise<string[]> {
  const found: string[] = []
  for (let after: string | undefined; ; ) {
    const {objects: page} = await store.list('', {limit: 1, ...(after === undefined ? {} : {after})})
    const name = page[0]?.name
    if (name === undefined) return found
    const [id, ...rest] = name.split('/') as [string]
    if (rest.length > 0) found.push(id)
    // behind everything that is below it
    after = rest.length > 0 ? `${id}/~` : name
  }
}

/** Everything of the incarnation goes, its key first: from then on the rest is noise. Needs no key. Idempotent. */
export async function removeIncarnation(store: ObjectStore, incarnation: string): Promise<number> {
  await destroyDataKey(store, incarnation)
  let removed = 0
  for await (const {name} of listAll(store, `${incarnation}/`)) {
    await store.delete(name)
    removed++
  }
  await store.barrier()
  return removed
}
