/**
 * The checksum of a data page: src/include/storage/checksum_impl.h. FNV-1a, 32 lanes in parallel, folded and mixed with the
 * number of the block, so that a page in the wrong place is found, too.
 */
import type {BackupDamage} from '../../backup.js'

export const pageBytes = 8192
/** Blocks of a segment file of a relation, as all distributed builds have it (1 GiB). */
export const blocksPerFile = 131_072

const lanes = 32
const prime = 16777619
const offsets = Int32Array.of(
  0x5b1f36e9, 0xb8525960, 0x02ab50aa, 0x1de66d2a, 0x79ff467a, 0x9bb9f8a3, 0x217e7cd2, 0x83e13d2c,
  0xf8d4474f, 0xe39eb970, 0x42c6ae16, 0x993216fa, 0x7b093b5d, 0x98daff3c, 0xf718902a, 0x0b1c9cdb,
  0xe58f764b, 0x187636bc, 0x5d7b3bb1, 0xe73de7de, 0x92bec979, 0xcca6c0b2, 0x304a0979, 0x85aa43d4,
  0x783125bb, 0x6ca8eaa2, 0xe407eac6, 0x4b5cfc3e, 0x9fbf8c76, 0x15ca20be, 0xf2ca9fd3, 0x959bd756,
)
const room = new Int32Array(pageBytes / 4)
const roomBytes = new Uint8Array(room.buffer)
const headerChecksumAt = 8

/** One round of a lane, a word mixed in already. */
const mix = (sum: number): number => Math.imul(sum, prime) ^ (sum >>> 17)

/**
 * Of a page as it would be in that block of its relation. Little-endian machines only, which all of ours are. Four lanes at a
 * time, in variables: less than half the time that all of them take in an array.
 */
export function pageChecksum(page: Uint8Array, block: number): number {
  roomBytes.set(page)
  // pd_checksum counts as zero
  roomBytes[headerChecksumAt] = 0
  roomBytes[headerChecksumAt + 1] = 0
  let result = block | 0
  for (let lane = 0; lane < lanes; lane += 4) {
    let a = offsets[lane] as number
    let b = offsets[lane + 1] as number
    let c = offsets[lane + 2] as number
    let d = offsets[lane + 3] as number
    for (let i = lane; i < room.length; i += lanes) {
      a = mix(a ^ (room[i] as number))
      b = mix(b ^ (room[i + 1] as number))
      c = mix(c ^ (room[i + 2] as number))
      d = mix(d ^ (room[i + 3] as number))
    }
    // two rounds of zeros, so that the last words mix as well as the first
    result ^= mix(mix(a)) ^ mix(mix(b)) ^ mix(mix(c)) ^ mix(mix(d))
  }
  return ((result >>> 0) % 65_535) + 1
}

/** The relation's own name, its fork, its number among the files of the relation. */
const relationFile = /^(?:global|base\/\d+|pg_tblspc\/\d+\/PG_[^/]+\/\d+)\/\d+(?:_(?:fsm|vm|init))?(?:\.(\d+))?$/

/** Number of the first block of a file of pages; undefined for files without checksums. Paths as in a backup. */
export function firstBlockOf(path: string): number | undefined {
  const found = relationFile.exec(path)
  return found ? Number(found[1] ?? 0) * blocksPerFile : undefined
}

/** Why the page cannot be what was written there, or undefined. A page that was never used is all zeros. */
export function whyDamaged(page: Uint8Array, block: number): string | undefined {
  const view = Buffer.from(page.buffer, page.byteOffset, page.length)
  // pd_upper: zero in a page that was never initialised; then all of it must be
  if (view.readUInt16LE(14) === 0) return view.every((byte) => byte === 0) ? undefined : 'it has no header, and is not empty'
  const [expected, found] = [pageChecksum(page, block), view.readUInt16LE(headerChecksumAt)]
  return expected === found ? undefined : `its checksum is ${found}, and should be ${expected}`
}

/** As EngineRecovery.damagesIn promises. What changed while it was copied may be torn: the log has all of it. */
export function damagesIn(path: string, offset: number, bytes: Uint8Array, start: number): BackupDamage[] {
  const first = firstBlockOf(path)
  if (first === undefined) return []
  const damages: BackupDamage[] = []
  for (let at = 0; at + pageBytes <= bytes.length; at += pageBytes) {
    const page = bytes.subarray(at, at + pageBytes)
    const number = (offset + at) / pageBytes
    const because = whyDamaged(page, first + number)
    // pd_lsn has its upper half first, each as the machine writes it
    const view = Buffer.from(page.buffer, page.byteOffset, 8)
    if (because !== undefined && view.readUInt32LE(0) * 2 ** 32 + view.readUInt32LE(4) < start) damages.push({path, page: number, because})
  }
  return damages
}
