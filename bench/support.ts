/** What the benchmarks share: sites of their own, bare servers of the same binaries, medians, tables. */
import {spawn} from 'node:child_process'
import {existsSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import {projectRoot, run, temporarySite, type Ran, type Site} from '../test/support/site.js'

export {projectRoot, run, temporarySite, type Site}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  return sorted.length % 2 === 1 ? (sorted[Math.floor(middle)] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}
export const percentile = (values: readonly number[], p: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil((p / 100) * sorted.length) - 1)] as number
}

/** Milliseconds that `work` took. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

export function must(ran: Ran, what: string): Ran {
  if (ran.code !== 0) throw new Error(`${what} exited ${ran.code}: ${ran.stderr}${ran.stdout}`)
  return ran
}

/** uid and gid of the user that servers run as: never root. */
export function serverUser(): {uid?: number; gid?: number} {
  if (process.getuid?.() !== 0) return {}
  const line = readFileSync('/etc/passwd', 'utf8').split('\n').find((l) => l.startsWith('dbaas:'))?.split(':')
  if (!line) throw new Error('the user dbaas does not exist yet: create a database first')
  return {uid: Number(line[2]), gid: Number(line[3])}
}

/** Where the agent of a site keeps the programs of the bundled PostgreSQL. */
export async function bundledBin(site: Site): Promise<string> {
  const {engines} = await site.json('engines', 'list')
  const version = engines[0].versions.find((v: {source: string; path: string | null}) => v.source === 'bundled' && v.path !== null)
  if (!version || !existsSync(join(version.path, 'initdb'))) throw new Error('the bundled PostgreSQL is not in the engine store')
  return version.path
}

export function verdict(name: string, value: number, limit: number, unit = '×'): string {
  return `${name.padEnd(44)} ${value.toFixed(2)} ${unit}   goal ≤ ${limit} ${unit}   ${value <= limit ? 'reached' : 'NOT REACHED'}`
}

/** A program that is timed with nothing but its start: what the shell would feel. */
export function wallOf(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    const began = performance.now()
    const child = spawn(argv[0] as string, argv.slice(1), {env, stdio: 'ignore'})
    child.on('error', reject)
    child.on('exit', (code) => (code === 0 ? resolve(performance.now() - began) : reject(new Error(`${argv.join(' ')} exited ${code}`))))
  })
}
