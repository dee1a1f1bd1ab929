/** A master key as `keys export` prints it. */
import {DbaasError} from '../../core/errors.js'

/** In hexadecimal. Throws USAGE; what was read is never shown. */
export function parseKey(text: string, path: string): string {
  const word = text.trim()
  const found = word.startsWith('{') ? keyOf(word) : word
  if (found !== undefined && /^[0-9a-fA-F]{64}$/.test(found)) return found.toLowerCase()
  if (found !== undefined && /^[A-Za-z0-9+/_-]{43}=?$/.test(found)) return Buffer.from(found, 'base64').toString('hex')
  throw new DbaasError('USAGE', `${path === '-' ? 'what was read' : path} is not a master key`, {
    details: {file: path}, suggestions: ['give what dbaas keys export has printed: 64 hexadecimal digits, or its JSON'],
  })
}

function keyOf(json: string): string | undefined {
  try {
    const {keys} = JSON.parse(json) as {keys?: readonly {key?: unknown}[]}
    return typeof keys?.[0]?.key === 'string' ? keys[0].key : undefined
  } catch {
    return undefined
  }
}
