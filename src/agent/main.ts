/** The daemon's entry: signals and exit codes; the only file of the agent that ends the process. */
import {readFileSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import pino from 'pino'
import {DbaasError} from '../core/errors.js'
import {startApp} from './app.js'
import {writeFatal} from './client/fatal.js'
import {readConfig} from './config.js'

const packageRoot = fileURLToPath(new URL('../..', import.meta.url))
const config = readConfig()
const logger = pino({base: {pid: process.pid}, timestamp: pino.stdTimeFunctions.isoTime}, pino.destination({dest: 1, sync: true}))
const log = (message: string, facts: Record<string, unknown> = {}): void => logger.info(facts, message)

process.title = 'dbaas agent'
// a terminal that is closed must not take the databases' keeper with it
process.on('SIGHUP', () => undefined)
process.on('uncaughtException', (error) => {
  logger.fatal({stack: error.stack}, 'uncaught')
  process.exit(1)
})
process.on('unhandledRejection', (error) => {
  logger.fatal({stack: error instanceof Error ? error.stack : String(error)}, 'unhandled rejection')
  process.exit(1)
})

try {
  const {version} = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {version: string}
  const app = await startApp({...config, packageRoot, version, log})
  if (!app) {
    log('another agent has this home')
    process.exit(0)
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void app.stop())
  await app.ended
  log('the agent has stopped')
  process.exit(0)
} catch (thrown) {
  const error = DbaasError.from(thrown)
  logger.fatal({code: error.code, stack: (thrown as Error)?.stack}, error.message)
  // where the home itself is what cannot be used, the launcher finds that out the same way
  writeFatal(config.home, error)
  process.exit(1)
}
