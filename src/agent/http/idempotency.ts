import {createHash} from 'node:crypto'
import {idempotencyHeader} from '../../core/api/paths.js'
import {DbaasError} from '../../core/errors.js'
import type {Idempotency} from '../services/contract.js'

/**
 * The request's key and what it stands for: SHA-256 of method, path with query, and the body with its fields in order,
 * so that the same request written differently is the same. Throws INVALID_REQUEST for a key that cannot be one.
 */
export function idempotencyOf(
  key: string | string[] | undefined,
  method: string,
  url: string,
  body: unknown,
): Idempotency | undefined {
  if (key === undefined) return undefined
  if (typeof key !== 'string' || !/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw new DbaasError(
      'INVALID_REQUEST',
      `the header ${idempotencyHeader} must be 1 to 255 visible ASCII characters`,
      {
        details: {field: idempotencyHeader},
      },
    )
  }
  const fingerprint = createHash('sha256')
    .update(`${method} ${url}\n${canonical(body)}`)
    .digest('hex')
  return {key, fingerprint}
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`).join(',')}}`
  }
  return JSON.stringify(value) ?? 'null'
}
