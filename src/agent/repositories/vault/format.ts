/** The words and the numbers of the repository's format, version 1: docs/repository-format.md says what they mean. */
import {DbaasError} from '../../../core/errors.js'

export const formatName = 'dbaas-repository'
export const formatVersion = 1

/** A file is cut into extents of this many bytes, at fixed offsets; an extent is `extentBytes / pageSize` pages. */
export const extentBytes = 1024 * 1024
export const hashBytes = 16
export const idBytes = 32
export const nonceBytes = 12
export const tagBytes = 16
export const saltBytes = 16

export const packMagic = Buffer.from('dbaasPK1')
export const sealedMagic = Buffer.from('dbaasSL1')
export const keyMagic = Buffer.from('dbaasKY1')
/** Salt, offset and length of the sealed footer (uint32 LE each), magic. */
export const packTrailerBytes = saltBytes + 4 + 4 + packMagic.length

/** What a ciphertext is bound to. UTF-8 of a JSON array without spaces, whose first element names format and version. */
export const bind = (...parts: readonly (string | number)[]): Buffer =>
  Buffer.from(JSON.stringify([`${formatName}/${formatVersion}`, ...parts]))

const number = (n: number): string => String(n).padStart(8, '0')

/** Names of objects below the folder of an incarnation, which is named by it. */
export const objects = {
  repository: 'repository',
  /** There: the repository is a copy, which its copier alone may write. */
  copy: 'copy',
  key: (generation: number) => `keys/${number(generation)}`,
  session: (n: number) => `sessions/${number(n)}`,
  /** The commit point of session n: a snapshot, or the tombstone that keeps it from ever being one. */
  snapshot: (n: number) => `snapshots/${number(n)}`,
  tree: (n: number) => `trees/${number(n)}`,
  pack: (n: number, name: string) => `packs/${number(n)}/${name}`,
  sweep: (k: number) => `sweeps/${number(k)}`,
  check: (at: number, n: number) => `checks/${String(at).padStart(15, '0')}-${number(n)}`,
  history: (timeline: string) => `history/${timeline}`,
  segments: (timeline: string) => `log/${timeline}/`,
  segment: (timeline: string, segment: string) => `log/${timeline}/${segment}/`,
  slice: (timeline: string, segment: string, start: number) => `log/${timeline}/${segment}/${String(start).padStart(12, '0')}`,
  whole: (timeline: string, segment: string) => `log/${timeline}/${segment}/whole`,
  /** There: the segment is being removed, and is there no more. */
  gone: (timeline: string, segment: string) => `log/${timeline}/${segment}/gone`,
} as const

/** The session and name of a pack, of its full name; undefined of anything else, which somebody else may have put there. */
export function packOf(object: string): {readonly session: number; readonly name: string} | undefined {
  const found = /^[^/]+\/packs\/(\d{8,15})\/([0-9a-f]{64})$/.exec(object)
  return found ? {session: Number(found[1]), name: found[2] as string} : undefined
}

export const damaged = (object: string, because: string, cause?: unknown): DbaasError =>
  new DbaasError('REPOSITORY_DAMAGED', `the object ${object} of the repository is damaged: ${because}`, {cause, details: {object}})
