import {dirname, join} from 'node:path'
import {fileURLToPath, pathToFileURL} from 'node:url'
import {build} from 'esbuild'

const repository = join(dirname(fileURLToPath(import.meta.url)), '..')

/**
 * Builds the endpoint process into one file that needs nothing but Node. CommonJS, because V8 starts it faster and it
 * is copied to a place whose package.json says so.
 * @param {string} outfile
 * @param {import('esbuild').BuildOptions} [options]
 * @returns {Promise<void>}
 */
export async function buildEndpoint(outfile, options = {}) {
  await build({
    entryPoints: [join(repository, 'src/agent/endpoints/process/main.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    minifySyntax: true,
    legalComments: 'none',
    logLevel: 'warning',
    ...options,
  })
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await buildEndpoint(process.argv[2] ?? join(repository, 'dist/endpoint.js'))
}
