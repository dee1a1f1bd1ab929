/** Small objects (manifests, leases, slices of the log): sealed as a whole, with a checksum that can be tested without a key. */
import {createCipheriv, createDecipheriv, createHash, randomBytes} from 'node:crypto'
import {DbaasError} from '../../../core/errors.js'
import {pack, unpack, type Codec} from './codec.js'
import {bind, damaged, nonceBytes, sealedMagic, tagBytes} from './format.js'

export const checksumBytes = 32

/** AES-256-GCM (NIST SP 800-38D) with a random nonce: nonce, ciphertext, tag. */
export function encrypt(key: Buffer, boundTo: Buffer, parts: readonly Uint8Array[]): Buffer[] {
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(boundTo)
  return [nonce, ...parts.map((bytes) => cipher.update(bytes)), cipher.final(), cipher.getAuthTag()]
}

/** Throws a plain Error when it is not what was encrypted, or not here. */
export function decrypt(key: Buffer, boundTo: Buffer, sealed: Buffer): Buffer {
  if (sealed.length < nonceBytes + tagBytes) throw new Error('it is too short')
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, nonceBytes), {authTagLength: tagBytes})
  decipher.setAAD(boundTo)
  decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes))
  const first = decipher.update(sealed.subarray(nonceBytes, sealed.length - tagBytes))
  const rest = decipher.final()
  return rest.length === 0 ? first : Buffer.concat([first, rest])
}

/** What a sealed object is bound to: the incarnation, and its own name below it. */
const boundTo = (incarnation: string, name: string) => bind('object', incarnation, name)

/** Magic, nonce, ciphertext, tag, SHA-256 of all before. */
export function sealObject(key: Buffer, incarnation: string, name: string, plain: Uint8Array, codec: Codec): Buffer {
  const body = Buffer.concat([sealedMagic, ...encrypt(key, boundTo(incarnation, name), pack(plain, codec))])
  return Buffer.concat([body, createHash('sha256').update(body).digest()])
}

/** Throws REPOSITORY_DAMAGED naming the object. */
export function openObject(key: Buffer, incarnation: string, name: string, sealed: Buffer): Uint8Array {
  const because = whyNotIntact(sealed)
  if (because !== undefined) throw damaged(`${incarnation}/${name}`, because)
  try {
    return unpack(decrypt(key, boundTo(incarnation, name), sealed.subarray(sealedMagic.length, sealed.length - checksumBytes)))
  } catch (cause) {
    if (cause instanceof DbaasError) throw cause
    throw damaged(`${incarnation}/${name}`, 'it is not what was written there', cause)
  }
}

/** Needs no key: bytes that have changed by themselves are found, not those that somebody has changed. */
export function whyNotIntact(sealed: Buffer): string | undefined {
  if (sealed.length < sealedMagic.length + nonceBytes + tagBytes + checksumBytes) return 'it is too short'
  if (!sealed.subarray(0, sealedMagic.length).equals(sealedMagic)) return 'it does not begin as one'
  const body = sealed.subarray(0, sealed.length - checksumBytes)
  if (!createHash('sha256').update(body).digest().equals(sealed.subarray(body.length))) return 'its checksum does not match'
  return undefined
}
