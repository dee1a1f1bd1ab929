import type {Engine} from './engine.js'
import {mariadb} from './mariadb/index.js'
import {mysql} from './mysql/index.js'
import {engineName} from './names.js'
import type {EngineName} from './names.js'
import {postgresql} from './postgresql/index.js'

/** Every engine there is. A name without an engine, or an engine without a name, does not compile. */
export const engines = {postgresql, mysql, mariadb} as const satisfies Record<EngineName, Engine>

/** The engine of that name or alias. Throws UNKNOWN_ENGINE with the nearest name. */
export function findEngine(name: string, among: Readonly<Record<string, Engine>> = engines): Engine {
  return among[engineName(name, Object.keys(among))] as Engine
}
