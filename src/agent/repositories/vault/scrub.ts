/** Looks for bit rot in all of a repository, or a copy of it, without any key. */
import {getIfThere} from './context.js'
import {listAll, type ObjectStore} from '../repository.js'
import {createGate} from './gate.js'
import {ownMemory, type Pool} from './pool.js'
import type {Damage} from './verify.js'

export interface Scrubbed {
  readonly objects: number
  /** Read. */
  readonly bytes: number
  readonly damages: readonly Damage[]
}

/**
 * Reads every object below `prefix`: a pack hashes to its name, the others end in their checksum. Objects that go
 * meanwhile are no damage. Memory: so many objects as there are threads and one.
 */
export async function scrub(store: ObjectStore, pool: Pool, prefix = ''): Promise<Scrubbed> {
  const damages: Damage[] = []
  const sums = {objects: 0, bytes: 0}
  const gate = createGate(pool.size + 1)
  try {
    for await (const {name} of listAll(store, prefix)) {
      await gate.ready()
      gate.start(async () => {
        const content = await getIfThere(store, name)
        if (content === undefined) return
        sums.objects++
        sums.bytes += content.length
        const {answer: {because}} = await pool.run({kind: 'intact', name, content}, ownMemory([content]))
        if (because !== undefined) damages.push({object: name, because})
      })
    }
  } finally {
    await gate.done()
  }
  return {...sums, damages: damages.sort((a, b) => (a.object < b.object ? -1 : 1))}
}
