/** Names of nodes, and what is called after them on their peers. */
import {DbaasError} from '../../../core/errors.js'

/** Let in by certificate alone: to replicate, and to the database `postgres`, where a rewind reads files. See `hba` in files.ts. */
export const peerRole = 'dbaas_peer'

const slotPrefix = 'peer_'

/** What the server compares without case, cuts at 63 bytes, and must not take for a word of its own (`*`, `any`): none of that can happen. */
export function checkName(name: string): string {
  if (/^[a-z_][a-z0-9_]{0,57}$/.test(name)) return name
  throw new DbaasError('INVALID_REQUEST', `"${name}" cannot be the name of a node`, {suggestions: ['use at most 58 lower-case letters, digits and _']})
}

/** The slot that a node has on each of its peers. */
export const slotOf = (name: string): string => slotPrefix + checkName(name)

export const nameOfSlot = (slot: string): string | undefined => (slot.startsWith(slotPrefix) ? slot.slice(slotPrefix.length) : undefined)

/** Quoted, so that no name is a keyword. `k` of an empty list is nothing. */
export function formatSynchronous({k, names}: {k: number; names: readonly string[]}): string {
  if (names.length === 0) return ''
  if (!Number.isInteger(k) || k < 1 || k > names.length) {
    throw new DbaasError('INVALID_REQUEST', `${k} of ${names.length} standbys cannot be waited for`, {suggestions: ['wait for at least one, and at most all of them']})
  }
  return `ANY ${k} (${names.map((name) => `"${checkName(name)}"`).join(', ')})`
}

/** Null for what we would not have written. */
export function parseSynchronous(text: string): {k: number; names: string[]} | null {
  if (text.trim() === '') return {k: 0, names: []}
  const found = /^ANY (\d+) \(("[a-z0-9_]+"(?:, "[a-z0-9_]+")*)\)$/.exec(text)
  return found ? {k: Number(found[1]), names: [...(found[2] as string).matchAll(/[a-z0-9_]+/g)].map(([name]) => name)} : null
}
