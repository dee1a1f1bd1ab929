/** Contents that both a dying writer and who checks after it can make. */
import {createCipheriv, createHash} from 'node:crypto'

/** Noise that a seed gives, from byte `at` (a multiple of 16) on. */
function noise(seed: string, bytes: number): Buffer {
  const cipher = createCipheriv('aes-256-ctr', createHash('sha256').update(seed).digest(), Buffer.alloc(16))
  return cipher.update(Buffer.alloc(bytes))
}

/** Files of a snapshot: most of it is always the same, some pages are its own. */
export function filesOf(seed: string): Map<string, Buffer> {
  const heap = noise('heap', 700_000)
  const own = noise(seed, 12 * 8192)
  for (let i = 0; i < 12; i++) own.copy(heap, ((i * 13 + seed.length * 7) % 85) * 8192, i * 8192, (i + 1) * 8192)
  return new Map([['base/heap', heap], ['base/new', own.subarray(0, 50_000)], ['label', Buffer.from(seed)]])
}

export const segmentBytes = 64 * 1024
export const segmentName = (n: number): string => String(n).padStart(8, '0')
export const segmentContent = (n: number): Buffer => noise(`segment ${n}`, segmentBytes)
