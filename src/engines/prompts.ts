/** The prompts of all engines, each loaded when it is asked for. */
import {DbaasError} from '../core/errors.js'
import type {EngineName} from './names.js'
import type {EnginePrompt} from './prompt.js'

const prompts: Readonly<Record<EngineName, () => Promise<EnginePrompt>>> = {
  postgresql: async () => (await import('./postgresql/prompt.js')).prompt,
  mysql: async () => (await import('./mysql/prompt.js')).prompt,
  mariadb: async () => (await import('./mariadb/prompt.js')).prompt,
}

/** `engine` as the agent names it, which may know more of them than this CLI. Throws NOT_SUPPORTED. */
export async function promptOf(engine: string, instance: string): Promise<EnginePrompt> {
  if (Object.hasOwn(prompts, engine)) return prompts[engine as keyof typeof prompts]()
  throw new DbaasError('NOT_SUPPORTED', `this dbaas does not know the engine "${engine}" of ${instance}: its agent is newer`, {
    details: {engine, engines: Object.keys(prompts).join(', ')},
    suggestions: ['install a newer dbaas on this machine', `dbaas credentials ${instance}`, `dbaas sql ${instance} "select 1"`],
  })
}

export const allPrompts = (): Promise<EnginePrompt[]> => Promise.all(Object.values(prompts).map((load) => load()))
