import type {BuildOptions} from 'esbuild'

/** Builds the endpoint process into one file that needs nothing but Node. */
export function buildEndpoint(outfile: string, options?: BuildOptions): Promise<void>
