/** Answers against the schemas that the OpenAPI document is made of. */
import assert from 'node:assert/strict'
import {Ajv} from 'ajv'
import type {ValidateFunction} from 'ajv'
import {ErrorResponseSchema} from '../../src/core/api/schemas.js'
import type {ApiError} from '../../src/core/api/schemas.js'
import {errorTable, isErrorCode} from '../../src/core/errors.js'
import type {ResponseCheck} from '../../src/agent/http/register.js'

const ajv = new Ajv({
  addUsedSchema: false,
  allErrors: true,
  formats: {'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/},
})
const compiled = new Map<object, ValidateFunction>()

function violation(schema: object, body: unknown): string | undefined {
  const validate = compiled.get(schema) ?? ajv.compile(withoutIds(schema))
  compiled.set(schema, validate)
  return validate(body) ? undefined : ajv.errorsText(validate.errors)
}

/** The ids of nested schemas repeat, which ajv takes for two schemas of one name. */
const withoutIds = (schema: object): object =>
  JSON.parse(JSON.stringify(schema, (key, value: unknown) => (key === '$id' ? undefined : value))) as object

/** For `checkResponse` of the server. */
export const checkAgainstSchema: ResponseCheck = (id, status, schema, body) => {
  const why = violation(schema, JSON.parse(JSON.stringify(body)))
  if (why !== undefined) throw new Error(`the answer of ${id} (${status}) is not what its schema says: ${why}`)
}

/** Property 31: the standard form, a code of the table, and the table's status. */
export function assertErrorResponse(
  status: number,
  contentType: string | undefined,
  text: string,
  what: string,
): ApiError {
  assert.match(contentType ?? '', /^application\/json/, `${what}: ${text}`)
  const body = JSON.parse(text) as ApiError
  assert.equal(violation(ErrorResponseSchema, body), undefined, `${what}: ${text}`)
  const {code} = body.error
  assert.ok(isErrorCode(code), `${what}: ${code} is not in the table`)
  assert.equal(status, errorTable[code].status, `${what}: ${code}`)
  assert.notEqual(body.error.message, '')
  return body
}
