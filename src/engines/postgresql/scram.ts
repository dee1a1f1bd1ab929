import {createHash, createHmac, pbkdf2, randomBytes} from 'node:crypto'
import {promisify} from 'node:util'

const derive = promisify(pbkdf2)

/** What PostgreSQL itself uses, and RFC 7677 asks as a minimum. */
const iterations = 4096

const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()

/**
 * The verifier that PostgreSQL stores for a password (RFC 5802, RFC 7677): `SCRAM-SHA-256$4096:salt$stored:server`.
 * Made here so that the password never reaches the server, whose log could keep it.
 */
export async function scramVerifier(password: string, salt: Buffer = randomBytes(16)): Promise<string> {
  // SASLprep (RFC 4013) of what we generate (ASCII) is the identity; for the rest its main part, NFKC
  const salted = await derive(password.normalize('NFKC'), salt, iterations, 32, 'sha256')
  const stored = createHash('sha256').update(hmac(salted, 'Client Key')).digest('base64')
  const server = hmac(salted, 'Server Key').toString('base64')
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${stored}:${server}`
}
