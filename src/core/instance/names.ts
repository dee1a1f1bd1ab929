import {DbaasError} from '../errors.js'
import {isoTime} from '../time.js'

/** Words that are verbs or topics of the CLI, or names a database already gives a meaning. */
const reserved = new Set([
  'all', 'agent', 'default', 'help', 'list', 'none', 'self', 'site', 'localhost', 'postgres', 'mysql', 'mariadb',
  'template0', 'template1', 'dbaas', 'new', 'undo', 'latest',
])

export const maxNameLength = 40

/** Why `name` cannot name an instance (or template, or context), or undefined. One label of RFC 1123, lower case. */
export function whyNotAName(name: string): string | undefined {
  if (name === '') return 'it is empty'
  if (name.length > maxNameLength) return `it has ${name.length} characters, and ${maxNameLength} are allowed`
  if (!/^[a-z0-9-]+$/.test(name)) return 'only lower-case letters, digits and hyphens are allowed'
  if (!/^[a-z]/.test(name)) return 'it must begin with a letter'
  if (name.endsWith('-')) return 'it must not end with a hyphen'
  if (/^(ins|nod|op|req|site)-/.test(name)) return 'that prefix belongs to ids'
  if (reserved.has(name)) return 'it is a reserved word'
  return undefined
}

/** The nearest valid name to what was typed, or undefined if nothing of it can be kept. */
export function suggestName(name: string): string | undefined {
  const cleaned = name.toLowerCase().normalize('NFKD').replace(/[^a-z0-9-]+/g, '-').replace(/^[^a-z]+/, '')
    .slice(0, maxNameLength).replace(/-+$/, '')
  const candidate = reserved.has(cleaned) ? `${cleaned}-db` : cleaned
  return whyNotAName(candidate) === undefined ? candidate : undefined
}

/** Throws INVALID_NAME with the reason and a name that would do. */
export function checkName(name: string, what = 'instance'): void {
  const because = whyNotAName(name)
  if (because === undefined) return
  const better = suggestName(name)
  throw new DbaasError('INVALID_NAME', `"${name}" cannot be ${/^[aeiou]/.test(what) ? 'an' : 'a'} ${what} name: ${because}`, {
    details: {name, because},
    suggestions: better ? [`use "${better}"`] : ['use lower-case letters, digits and hyphens, beginning with a letter'],
  })
}

/** `orders-before-20261123t172200z`; a long name is cut so that it fits. `now`: milliseconds since the epoch. */
export function datedName(name: string, what: string, now: number): string {
  const suffix = `-${what}-${isoTime(now).replace(/[-:]|\.\d+/g, '').toLowerCase()}`
  return `${name.slice(0, maxNameLength - suffix.length).replace(/-+$/, '')}${suffix}`
}
