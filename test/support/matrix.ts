/** The matrix: every engine on every runtime. A cell whose server or Docker engine this machine lacks says so and is skipped. */
import type {CreateBody} from '../../src/core/api/schemas.js'
import {mariadbOrSkip, mysqlOrSkip} from './databases.js'
import {dockerOrSkip, images} from './docker.js'
import {freshKey, type InProcess} from './in-process.js'
import type {Site} from './site.js'

export interface Cell {
  /** `postgresql on process`. */
  readonly title: string
  readonly engine: string
  readonly runtime: string
  /** Environment of the agent: which images stand for the official ones. */
  readonly env: Readonly<Record<string, string>>
  /** What `create` is given beside engine and runtime, as flags and as a body. */
  readonly flags: readonly string[]
  readonly body: Partial<CreateBody>
  /** The least memory that a server of the engine is tried with. */
  readonly leastMemoryMib: number
  /** Real iterations of a property, in CI and in test:full. */
  readonly runs: readonly [number, number]
  /** A parameter that needs no restart on any version, with two valid values. */
  readonly reloadable: {readonly name: string; readonly values: readonly [string, string]}
  /** Where the programs come from that must be installed first; undefined where they are there. */
  readonly installFrom?: () => string
  /** To be called first in a `describe`: skips it loudly where something is lacking; under CI that fails. */
  need(): void
}

const workMem = {name: 'work_mem', values: ['8MB', '16MB']} as const
const longQuery = {name: 'long_query_time', values: ['2', '3']} as const
/** Docker has no image of the official version here: what was built stands for it. */
const image = (engine: 'postgresql' | 'mysql' | 'mariadb') => ({[`DBAAS_IMAGE_${engine.toUpperCase()}`]: images[engine]})

export const cells: readonly Cell[] = [
  {
    title: 'postgresql on process', engine: 'postgresql', runtime: 'process', env: {}, flags: [], body: {}, leastMemoryMib: 256, runs: [12, 100],
    reloadable: workMem, need: () => undefined,
  },
  {
    title: 'mysql on process', engine: 'mysql', runtime: 'process', env: {}, flags: [], body: {}, leastMemoryMib: 512, runs: [10, 10],
    reloadable: longQuery, installFrom: () => mysqlFolder, need: () => void (mysqlFolder = mysqlOrSkip().folder),
  },
  {
    title: 'mariadb on process', engine: 'mariadb', runtime: 'process', env: {}, flags: [], body: {}, leastMemoryMib: 256, runs: [10, 20],
    reloadable: longQuery, installFrom: () => mariadbFolder, need: () => void (mariadbFolder = mariadbOrSkip().folder),
  },
  {
    title: 'postgresql on docker', engine: 'postgresql', runtime: 'docker', env: image('postgresql'), flags: ['--version', '18'], body: {version: '18'},
    leastMemoryMib: 256, runs: [10, 20], reloadable: workMem, need: () => dockerOrSkip(images.postgresql),
  },
  {
    title: 'mysql on docker', engine: 'mysql', runtime: 'docker', env: image('mysql'), flags: ['--version', '9'], body: {version: '9'},
    leastMemoryMib: 512, runs: [10, 10], reloadable: longQuery, need: () => dockerOrSkip(images.mysql),
  },
  {
    title: 'mariadb on docker', engine: 'mariadb', runtime: 'docker', env: image('mariadb'), flags: ['--version', '10'], body: {version: '10'},
    leastMemoryMib: 256, runs: [10, 10], reloadable: longQuery, need: () => dockerOrSkip(images.mariadb),
  },
]

let mysqlFolder = ''
let mariadbFolder = ''

/** What a person would do before the first create. */
export async function prepareSite(site: Site, cell: Cell): Promise<void> {
  if (!cell.installFrom) return
  const {code, stderr} = await site.run('engines', 'install', cell.engine, '--from', cell.installFrom())
  if (code !== 0) throw new Error(`engines install ${cell.engine} exited ${code}: ${stderr}`)
}

export async function prepareAgent(agent: InProcess, cell: Cell): Promise<void> {
  if (!cell.installFrom) return
  const answer = await agent.client.call('engines.install', {
    params: {engine: cell.engine}, body: {from: cell.installFrom()} as never, idempotencyKey: freshKey(),
  })
  if (!('operation' in answer)) throw new Error('a plan came back')
  const {status, error} = await agent.finish(answer.operation)
  if (status !== 'succeeded') throw new Error(`engines install ${cell.engine}: ${error?.message}`)
}
