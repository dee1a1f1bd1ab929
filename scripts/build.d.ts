export const agentThreads: Readonly<Record<string, string>>
/** Modules, each a bundle, in a folder. */
export function buildModules(entryPoints: Readonly<Record<string, string>>, outdir: string): Promise<unknown>
