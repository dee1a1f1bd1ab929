/** Checksums as people write them: `sha256:HEX`, `sha512:HEX`. */
import {DbaasError} from './errors.js'

const digits = {sha256: 64, sha512: 128} as const

export type ChecksumAlgorithm = keyof typeof digits

export interface Checksum {
  readonly algorithm: ChecksumAlgorithm
  /** Lower case. */
  readonly hex: string
}

export const formatChecksum = ({algorithm, hex}: Checksum): string => `${algorithm}:${hex}`

/** A bare run of hexadecimal digits, as `sha256sum` prints it: its length tells the algorithm. */
export function checksumOfHex(hex: string): Checksum | undefined {
  if (!/^[0-9a-f]+$/i.test(hex)) return undefined
  const algorithm = (Object.keys(digits) as ChecksumAlgorithm[]).find((name) => digits[name] === hex.length)
  return algorithm && {algorithm, hex: hex.toLowerCase()}
}

/** Throws INVALID_REQUEST; MD5 and SHA-1, which can be forged, are refused by name. */
export function parseChecksum(text: string): Checksum {
  const [, name = '', hex = ''] = /^\s*(?:([a-z0-9-]+)\s*[:=]\s*)?([0-9a-f]+)\s*$/i.exec(text) ?? []
  const found = checksumOfHex(hex)
  const algorithm = name.toLowerCase().replace('-', '')
  if (found && (algorithm === '' || algorithm === found.algorithm)) return found
  const weak = algorithm === 'md5' || hex.length === 32 ? 'MD5' : algorithm === 'sha1' || hex.length === 40 ? 'SHA-1' : undefined
  throw new DbaasError('INVALID_REQUEST', weak ? `${weak} is no checksum to trust: files with the same one can be made` : `"${text}" is not a checksum`, {
    details: {checksum: text}, suggestions: ['sha256sum FILE', 'write sha256:HEX (64 digits) or sha512:HEX (128 digits)'],
  })
}
