import {type ChildProcess, spawn} from 'node:child_process'
import {createHash, randomBytes} from 'node:crypto'
import {chmod, mkdir, open, readFile, readdir, rename, rm, stat, truncate, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {DbaasError} from '../../core/errors.js'
import {type Boot, type BootOutcome, nodeFlags} from './protocol.js'

const logLimitBytes = 1024 * 1024
const startMs = 15_000
const buildName = /^[0-9a-f]{16}$/

export interface Build {
  readonly hash: string
  /** The copy that runs, or will run, in the state folder. */
  readonly bundle: string
}

/**
 * Copies the built endpoint process to STATE/HASH/endpoint.js, so that an upgrade or removal of the package never
 * changes the file under a running process, nor takes away what a crashed one is started from. Whole or not there.
 */
export async function installBuild(stateDir: string, bundlePath: string): Promise<Build> {
  await mkdir(stateDir, {recursive: true, mode: 0o700})
  await chmod(stateDir, 0o700)
  const code = await readFile(bundlePath)
  const hash = createHash('sha256').update(code).digest('hex').slice(0, 16)
  const folder = join(stateDir, hash)
  const bundle = join(folder, 'endpoint.js')
  if ((await stat(bundle).catch(() => undefined))?.size === code.length) return {hash, bundle}
  const draft = `${folder}.${randomBytes(4).toString('hex')}`
  await mkdir(draft, {mode: 0o700})
  await writeFile(join(draft, 'endpoint.js'), code, {mode: 0o600})
  // A home below a project of ES modules would otherwise make this file one.
  await writeFile(join(draft, 'package.json'), '{"type":"commonjs"}\n', {mode: 0o600})
  await rm(folder, {recursive: true, force: true})
  await rename(draft, folder)
  return {hash, bundle}
}

/** Removes other builds and drafts. A draining process has loaded its one file long ago. */
export async function removeOtherBuilds(stateDir: string, keep: string): Promise<void> {
  for (const name of await readdir(stateDir)) {
    const [hash = ''] = name.split('.')
    if (buildName.test(hash) && name !== keep) await rm(join(stateDir, name), {recursive: true, force: true})
  }
}

/**
 * Starts an endpoint process that will outlive us. Resolves when it serves (true), or has found that another one holds
 * the lock (false). Throws ENDPOINT_UNAVAILABLE with its own words.
 */
export async function launch(build: Build, boot: Boot): Promise<boolean> {
  const logPath = join(boot.stateDir, 'endpoint.log')
  if (((await stat(logPath).catch(() => undefined))?.size ?? 0) > logLimitBytes) await truncate(logPath)
  const log = await open(logPath, 'a', 0o600)
  try {
    // Our environment is the agent's: the process gets what any program needs, no flags for node, no secrets.
    const kept = ['PATH', 'HOME', 'LANG', 'TZ'].filter((name) => boot.agent.env[name] !== undefined)
    const env = {...Object.fromEntries(kept.map((name) => [name, boot.agent.env[name]])), UV_THREADPOOL_SIZE: '1'}
    const child = spawn(process.execPath, [...nodeFlags, build.bundle], {
      detached: true, cwd: '/', env, stdio: ['ignore', log.fd, log.fd, 'ipc'],
    })
    child.unref()
    const outcome = await firstWord(child, boot)
    // Its channel to us closes: from here on it is on its own, and we are free to end.
    if (child.connected) child.disconnect()
    if (outcome.type === 'failed') {
      throw new DbaasError('ENDPOINT_UNAVAILABLE', `the endpoint process did not start: ${outcome.message}`, {
        details: {log: logPath},
        suggestions: [`tail ${logPath}`, 'dbaas doctor'],
      })
    }
    return outcome.type === 'serving'
  } finally {
    await log.close()
  }
}

function firstWord(child: ChildProcess, boot: Boot): Promise<BootOutcome> {
  return new Promise((resolve) => {
    const settle = (outcome: BootOutcome) => {
      clearTimeout(late)
      resolve(outcome)
    }
    const fail = (message: string) => settle({type: 'failed', message})
    const late = setTimeout(() => {
      child.kill('SIGKILL')
      fail(`it said nothing for ${startMs / 1000} s`)
    }, startMs)
    child.on('error', (error) => fail(error.message))
    child.on('exit', (code, signal) => fail(`it ended with ${signal ?? code}`))
    child.once('message', settle)
    child.once('spawn', () => child.send(boot, (error) => error && fail(error.message)))
  })
}
