/**
 * `npm test`: everything that must hold, the quick first: build, lint, types, unused code, then the tests (the import
 * law and the manifest are among them). The last line is `N passed, N failed`, each check counted as one.
 *
 *   node scripts/test.js [--full] [mocha's arguments]
 *
 * --full runs the counts that the properties ask for instead of a quick sample (DBAAS_TEST_FULL=1).
 */
import {spawnSync} from 'node:child_process'
import {existsSync, mkdtempSync, readdirSync, readFileSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const argv = process.argv.slice(2)
const full = argv.includes('--full')
const mochaArguments = argv.filter((arg) => arg !== '--full')

const node = (...args) => [process.execPath, ...args]
const tool = (name, ...args) => node(join(root, 'node_modules', name), ...args)
const checks = [
  ['build', node('scripts/build.js')],
  ['lint', tool('@biomejs/biome/bin/biome', 'lint', '--error-on-warnings')],
  ['types', tool('typescript/bin/tsc', '-p', '.')],
  ['unused code', tool('knip/bin/knip.js', '--no-config-hints')],
]

/** Cheap folders first, so that a mistake shows early. */
const order = ['architecture', 'core', 'commands', 'agent', 'engines', 'runtimes', 'properties', 'e2e']
const rank = (path) => {
  const at = order.findIndex((name) => path.startsWith(`${name}/`) || path === `${name}.test.ts`)
  return at === -1 ? order.length : at
}

function testFiles() {
  return readdirSync(join(root, 'test'), {recursive: true})
    .map((path) => path.split('\\').join('/'))
    .filter((path) => path.endsWith('.test.ts'))
    .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
    .map((path) => `test/${path}`)
}

const run = ([program, ...args], env = process.env) => spawnSync(program, args, {cwd: root, stdio: 'inherit', env}).status

let passed = 0
const failed = []
for (const [name, command] of checks) {
  process.stdout.write(`\n== ${name}\n`)
  if (run(command) === 0) passed++
  else failed.push(name)
}

process.stdout.write('\n== tests\n')
const scratch = mkdtempSync(join(tmpdir(), 'dbaas-test-counts-'))
const counts = join(scratch, 'counts.json')
const files = mochaArguments.some((arg) => arg.endsWith('.ts')) ? [] : testFiles()
const mocha = tool('mocha/bin/mocha.js', '--reporter', 'test/support/reporter.cjs', ...files, ...mochaArguments)
const status = run(mocha, {...process.env, DBAAS_TEST_COUNTS: counts, ...(full ? {DBAAS_TEST_FULL: '1'} : {})})
// No counts: mocha itself did not come to its end, which is a failure by whatever code it exited.
const tests = existsSync(counts) ? JSON.parse(readFileSync(counts, 'utf8')) : {passed: 0, failed: 1, skipped: 0}
if (status !== 0 && tests.failed === 0) tests.failed = 1
rmSync(scratch, {recursive: true, force: true})

if (failed.length > 0) process.stdout.write(`\nnot passed: ${failed.join(', ')}\n`)
const skipped = tests.skipped > 0 ? `, ${tests.skipped} skipped` : ''
process.exitCode = failed.length + tests.failed === 0 ? 0 : 1
process.stdout.write(`\n${passed + tests.passed} passed, ${failed.length + tests.failed} failed${skipped}\n`)
