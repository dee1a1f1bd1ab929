/** Whether an object is what was written, as far as can be told without a key: its name, or a checksum in it, says so. */
import {createHash} from 'node:crypto'
import {numberIn, objects} from './format.js'
import {whyNotIntactKey} from './keys.js'
import {whyNotIntact} from './sealed.js'

/** Bytes that have changed by themselves are found, not those that somebody has changed who knows the format: for that, `verify`. */
export function whyDamaged(name: string, content: Buffer): string | undefined {
  const [, folder] = name.split('/')
  if (folder === undefined) return name === objects.repository ? undefined : 'it is no object of a repository'
  if (folder === 'keys') return whyNotIntactKey(content)
  if (folder !== 'packs') return whyNotIntact(content)
  numberIn(name, 2)
  return createHash('sha256').update(content).digest('hex') === name.split('/').at(-1) ? undefined : 'it does not hash to its name'
}
