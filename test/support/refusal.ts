/** What every refusal of the CLI must be: one document of the standard form, its exit code, words, and a way out. */
import assert from 'node:assert/strict'
import type {ApiError} from '../../src/core/api/schemas.js'
import {errorTable, type ErrorCode} from '../../src/core/errors.js'
import {assertErrorResponse} from './response-check.js'
import type {Ran} from './site.js'

export interface Refusal {
  readonly code: ErrorCode
  /** Must be found in the message: the thing, above all. */
  readonly names: RegExp
  /** Must be found among the suggestions. */
  readonly suggests: RegExp
  /** When it is not that of the code: whatever keeps the agent from starting is 6 (CLI.md). */
  readonly exit?: number
}

const exitOf = ({code, exit}: Refusal): number => exit ?? errorTable[code].exit

/** `--json`: stdout is exactly one ErrorResponse. */
export function assertRefused(ran: Ran, refusal: Refusal, what: string): ApiError {
  const {code, names, suggests} = refusal
  let body: ApiError
  try {
    body = assertErrorResponse(errorTable[code].status, 'application/json', ran.stdout, what)
  } catch (error) {
    assert.fail(`${what} (exit ${ran.code}) printed no ErrorResponse of ${code}: ${ran.stdout}${ran.stderr} ${String(error)}`)
  }
  const {error} = body
  assert.equal(error.code, code, `${what}: ${error.message}`)
  assert.equal(ran.code, exitOf(refusal), what)
  assert.match(error.message, names, what)
  assert.match((error.suggestions ?? []).join('\n'), suggests, what)
  assert.match(body.request_id, /^req_/, what)
  return body
}

/** As text: nothing on stdout; on stderr the same message, an arrow for each suggestion, the code; never a stack. */
function assertSameInWords(ran: Ran, {error}: ApiError, exit: number, what: string): void {
  assert.equal(ran.stdout, '', what)
  assert.equal(ran.code, exit, what)
  // What is free, and whose process it was, may be another figure a moment later.
  const figureless = (text: string): string => text.replace(/\d+(\.\d+)?/g, '#')
  assert.ok(figureless(ran.stderr).includes(figureless(`✗ ${error.message}`)), `${what}: ${ran.stderr}`)
  for (const suggestion of error.suggestions ?? []) assert.ok(ran.stderr.includes(`→ ${suggestion}`), `${what}: ${ran.stderr}`)
  assert.ok(ran.stderr.includes(`${error.code}, exit ${exit}`), `${what}: ${ran.stderr}`)
  assert.doesNotMatch(ran.stderr, /^\s+at .+:\d+|node:internal/m, `${what} shows a stack`)
}

/** Runs it as JSON and as text: it must be refused in the same way. Returns the document's error. */
export async function refuse(cli: (...argv: string[]) => Promise<Ran>, argv: readonly string[], refusal: Refusal): Promise<ApiError['error']> {
  const what = `dbaas ${argv.join(' ')}`
  const document = assertRefused(await cli(...argv, '--json'), refusal, what)
  assertSameInWords(await cli(...argv), document, exitOf(refusal), what)
  return document.error
}
