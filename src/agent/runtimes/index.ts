import type {RuntimeName} from './names.js'
import type {RuntimeOptions} from './options.js'
import type {Runtime} from './runtime.js'

/** One line for each runtime; a name without one does not compile. Loaded when first used. */
export const runtimes = {
  process: async (options) => (await import('./process/index.js')).createProcessRuntime(options),
  docker: async (options) => (await import('./docker/index.js')).createDockerRuntime(options),
} satisfies Record<RuntimeName, (options: RuntimeOptions) => Promise<Runtime>>
