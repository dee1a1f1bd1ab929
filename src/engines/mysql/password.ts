/** What MySQL stores of a password for caching_sha2_password: `$A$00A$`, a salt, and SHA-crypt of 10 000 rounds. */
import {createHash, randomInt} from 'node:crypto'
import type {Dialect} from '../mysql-family/dialect.js'

const sha256 = (...parts: Buffer[]): Buffer => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

const repeatTo = (bytes: Buffer, length: number): Buffer =>
  Buffer.concat(Array.from({length: Math.ceil(length / bytes.length)}, () => bytes)).subarray(0, length)

const alphabet = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** The order in which the digest's bytes are written, three to four characters, and the last two to three. */
const order = [
  [0, 10, 20], [21, 1, 11], [12, 22, 2], [3, 13, 23], [24, 4, 14],
  [15, 25, 5], [6, 16, 26], [27, 7, 17], [18, 28, 8], [9, 19, 29],
] as const

function encode(digest: Buffer): string {
  const characters = (value: number, count: number): string =>
    Array.from({length: count}, (_, at) => alphabet[(value >> (6 * at)) & 63]).join('')
  const byte = (at: number): number => digest[at] as number
  return (
    order.map(([a, b, c]) => characters((byte(a) << 16) | (byte(b) << 8) | byte(c), 4)).join('') +
    characters((byte(31) << 8) | byte(30), 3)
  )
}

/**
 * SHA-crypt with SHA-256 (Drepper, "Unix crypt using SHA-256 and SHA-512", version 0.4), with the salt of 20 bytes that
 * MySQL gives it.
 */
function shaCrypt(password: Buffer, salt: Buffer, rounds: number): Buffer {
  const alternate = sha256(password, salt, password)
  const first = [password, salt, repeatTo(alternate, password.length)]
  for (let bits = password.length; bits > 0; bits >>= 1) first.push(bits & 1 ? alternate : password)
  let digest = sha256(...first)
  const p = repeatTo(sha256(...Array.from({length: password.length}, () => password)), password.length)
  const s = repeatTo(sha256(...Array.from({length: 16 + (digest[0] as number)}, () => salt)), salt.length)
  for (let round = 0; round < rounds; round++) {
    const odd = round % 2 === 1
    digest = sha256(
      odd ? p : digest,
      ...(round % 3 === 0 ? [] : [s]),
      ...(round % 7 === 0 ? [] : [p]),
      odd ? digest : p,
    )
  }
  return digest
}

const saltBytes = 20
/** What 9.7 has by default; 8.4 has half of it, and takes any. */
const thousandRounds = 10

const randomSalt = (): string =>
  Array.from({length: saltBytes}, () => alphabet[randomInt(alphabet.length)]).join('')

/** The text of `authentication_string`. Of letters and digits, unlike the server's own salts, so that it can be quoted. */
export function storedPassword(password: string, salt = randomSalt(), thousands = thousandRounds): string {
  const digest = shaCrypt(Buffer.from(password, 'utf8'), Buffer.from(salt, 'latin1'), thousands * 1000)
  return `$A$${thousands.toString(16).toUpperCase().padStart(3, '0')}$${salt}${encode(digest)}`
}

export const identifiedBy: Dialect['identifiedBy'] = async (password) =>
  `identified with caching_sha2_password as '${storedPassword(password)}'`
