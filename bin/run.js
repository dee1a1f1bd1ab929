#!/usr/bin/env node
// The CLI. As little as possible: each import here is paid by every command.
import {existsSync, readFileSync} from 'node:fs'
import {fileURLToPath} from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const argv = process.argv.slice(2)
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)

function read(path) {
  try {
    return readFileSync(root + path)
  } catch {
    return undefined
  }
}

if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`✗ dbaas needs Node.js 20.19 or newer, and this is ${process.versions.node}\n`)
  process.exitCode = 1
} else if (argv.length === 1 && argv[0] === '--version') {
  const {name, version} = JSON.parse(read('package.json'))
  process.stdout.write(`${name}/${version} ${process.platform}-${process.arch} node-${process.version}\n`)
} else if (!existsSync(`${root}dist/cli.cjs`)) {
  process.stderr.write('✗ dbaas is not built here\n  → npm ci\n  → npm run build\n')
  process.exitCode = 1
} else {
  const {load} = await import('./load.js')
  await load(`${root}dist/cli.cjs`, read('dist/cli.cache')).exports.main(argv, {root})
}
