/** Whether an object is what was written, as far as can be told without a key: its name, or a checksum in it, says so. */
import {createHash} from 'node:crypto'
import {objects, packOf} from './format.js'
import {whyNotIntactKey} from './keys.js'
import {whyNotIntact} from './sealed.js'

/** Bytes that have changed by themselves are found, not those that somebody has changed who knows the format: for that, `verify`. */
export function whyDamaged(name: string, content: Buffer): string | undefined {
  const [, folder] = name.split('/')
  // They have no checksum, and are known by whoever opens the repository.
  if (folder === undefined) return name === objects.repository || name === objects.copy ? undefined : 'it is no object of a repository'
  if (folder === 'keys') return whyNotIntactKey(content)
  if (folder !== 'packs') return whyNotIntact(content)
  const pack = packOf(name)
  if (pack === undefined) return 'its name is none that dbaas gives'
  return createHash('sha256').update(content).digest('hex') === pack.name ? undefined : 'it does not hash to its name'
}
