import {DbaasError} from './errors.js'

const KB = 1000
const KIB = 1024
const byteUnits: Record<string, number> = {
  '': 1, b: 1,
  k: KIB, kb: KB, kib: KIB,
  m: KIB ** 2, mb: KB ** 2, mib: KIB ** 2,
  g: KIB ** 3, gb: KB ** 3, gib: KIB ** 3,
  t: KIB ** 4, tb: KB ** 4, tib: KIB ** 4,
}

/** `20GB` (decimal), `512MiB`, `512M` (binary) -> bytes, a whole number. Throws INVALID_SIZE. */
export function parseBytes(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*$/.exec(text)
  const unit = match ? byteUnits[(match[2] as string).toLowerCase()] : undefined
  if (!match || unit === undefined) {
    throw new DbaasError('INVALID_SIZE', `"${text}" is not a size`, {
      details: {value: text},
      suggestions: ['write a number with a unit: 512MiB, 4GiB, 20GB'],
    })
  }
  const bytes = Math.round(Number(match[1]) * unit)
  if (!Number.isSafeInteger(bytes)) {
    throw new DbaasError('INVALID_SIZE', `"${text}" is too large a size`, {details: {value: text}})
  }
  return bytes
}

/** Bytes -> the shortest of `512 MiB`, `1.5 GiB`, `10 KiB`, `17 B`. */
export function formatBytes(bytes: number): string {
  const steps = [['TiB', KIB ** 4], ['GiB', KIB ** 3], ['MiB', KIB ** 2], ['KiB', KIB]] as const
  for (const [name, size] of steps) {
    if (bytes >= size) {
      const value = bytes / size
      return `${Number.isInteger(value) ? value : value.toFixed(1)} ${name}`
    }
  }
  return `${bytes} B`
}
