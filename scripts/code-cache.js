/**
 * Writes V8's code cache of the built CLI, with which bin/load.js loads it. A process of its own, that runs a command
 * first: only functions that have run are in the cache.
 */
import {renameSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {load} from '../bin/load.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const {exports, script} = load(join(root, 'dist/cli.cjs'))

// Finds no agent, starts none, and changes nothing.
process.env.DBAAS_HOME = join(tmpdir(), `dbaas-no-home-${process.pid}`)
process.stdout.write = () => true
await exports.main(['agent', 'status', '--json'], {root})
process.exitCode = 0

// Renamed into place: half a cache would be loaded by a command that runs meanwhile.
const cache = join(root, 'dist/cli.cache')
writeFileSync(`${cache}.new`, script.createCachedData())
renameSync(`${cache}.new`, cache)
