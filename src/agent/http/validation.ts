/**
 * Requests against their schemas, by ajv. It is loaded, and a schema compiled, when first needed: the agent starts for
 * the sake of one command, and most of the schemas are never used.
 */
import type {Ajv, ErrorObject, ValidateFunction} from 'ajv'
import type {TSchema} from 'typebox'
import {DbaasError} from '../../core/errors.js'
import {nearest} from '../../core/nearest.js'

/** Not the path: its parts are text, and no schema asks more of them. */
export type RequestPart = 'body' | 'query'
export type Check = (value: unknown) => Promise<DbaasError | undefined>

// Inputs have no formats; ids of nested schemas repeat from root to root and must not be registered.
const settings = {validateFormats: false, addUsedSchema: false, strict: true} as const
let compilers: Promise<Record<RequestPart, Ajv>> | undefined

const loadCompilers = async (): Promise<Record<RequestPart, Ajv>> => {
  const {Ajv} = await import('ajv')
  return {body: new Ajv(settings), query: new Ajv({...settings, coerceTypes: true})}
}

/**
 * A check that gives INVALID_REQUEST naming the field, never its value (it may be a secret), or undefined. Of a
 * query, numbers and booleans are text, and are converted in place.
 */
export function checkOf(part: RequestPart, schema: TSchema): Check {
  const {required = []} = schema as {required?: readonly string[]}
  let validate: ValidateFunction | undefined
  return async (value) => {
    if (value === undefined)
      return new DbaasError('INVALID_REQUEST', `the ${part} is missing`, {suggestions: ['send a JSON object']})
    if (required.length === 0 && isEmptyObject(value)) return undefined
    validate ??= (await (compilers ??= loadCompilers()))[part].compile(schema)
    return validate(value) ? undefined : explain(part, schema, validate.errors ?? [])
  }
}

/** Most requests, which then need no compiler at all. */
const isEmptyObject = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length === 0

const short = (name: string): string => (name.length > 80 ? `${name.slice(0, 80)}…` : name)

function explain(part: RequestPart, schema: TSchema, errors: readonly ErrorObject[]): DbaasError {
  const last = errors.at(-1)
  const first = errors[0]
  if (!last || !first) return new DbaasError('INVALID_REQUEST', `the ${part} is not valid`)
  const path = last.instancePath
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
  if (first.keyword === 'additionalProperties') {
    const name = String(first.params.additionalProperty)
    const fields = Object.keys((schema as {properties?: object}).properties ?? {})
    const near = path.length === 0 ? nearest(name, fields) : undefined
    const message =
      fields.length === 0
        ? `the ${part} takes no fields, and has "${short(name)}"`
        : `the ${part} has no field "${short(name)}"`
    return new DbaasError('INVALID_REQUEST', message, {
      details: {field: short(name), ...(fields.length > 0 ? {fields: fields.join(', ')} : {})},
      suggestions: near
        ? [`did you mean "${near}"?`]
        : fields.length > 0
          ? [`the fields are ${fields.join(', ')}`]
          : [],
    })
  }
  const field =
    first.keyword === 'required' ? [...path, String(first.params.missingProperty)].join('.') : path.join('.')
  const because = first.keyword === 'required' ? 'is missing' : requirement(errors, first)
  return new DbaasError(
    'INVALID_REQUEST',
    field === '' ? `the ${part} ${because}` : `"${short(field)}" of the ${part} ${because}`,
    {
      details: {...(field === '' ? {} : {field: short(field)}), because},
    },
  )
}

/** Of a union (a value or null), ajv tells why each branch failed: together they are what was wanted. */
function requirement(errors: readonly ErrorObject[], first: ErrorObject): string {
  const types = errors.filter((error) => error.keyword === 'type').map((error) => String(error.params.type))
  if (types.length > 1) return `must be ${types.join(' or ')}`
  if (first.keyword === 'enum') return `must be one of ${(first.params.allowedValues as unknown[]).join(', ')}`
  return first.message ?? 'is not valid'
}
