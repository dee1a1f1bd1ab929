import {DbaasError} from '../core/errors.js'
import {nearest} from '../core/nearest.js'

/** Names of the engines, without the engines: commands import this and stay light. */
export const engineNames = ['postgresql', 'mysql', 'mariadb'] as const
export type EngineName = (typeof engineNames)[number]

/** What people also call them. */
const aliases: Readonly<Record<string, EngineName>> = {
  postgres: 'postgresql',
  pg: 'postgresql',
  psql: 'postgresql',
  mysqld: 'mysql',
  maria: 'mariadb',
  mariadbd: 'mariadb',
}

/** The engine's own name for a name or an alias, case ignored. Throws UNKNOWN_ENGINE with the nearest name. */
export function engineName(asked: string, names: readonly string[] = engineNames): string {
  const word = asked.toLowerCase()
  if (names.includes(word)) return word
  const meant = Object.hasOwn(aliases, word) ? aliases[word] : undefined
  if (meant !== undefined && names.includes(meant)) return meant
  const near = nearest(word, [...names, ...Object.keys(aliases)])
  const better = near === undefined ? undefined : (aliases[near] ?? near)
  throw new DbaasError('UNKNOWN_ENGINE', `there is no engine "${asked}"`, {
    details: {engine: asked, engines: names.join(', ')},
    suggestions: [...(better === undefined ? [] : [`--engine ${better}`]), `the engines are ${names.join(', ')}`],
  })
}
