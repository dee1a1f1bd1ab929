/**
 * The real agent, in a process of its own, that dies or fails at a named point: `TEST_PROBE` is JSON,
 * `{kill?: Point, fault?: {kind, step}, cancel?: Point}`. SIGKILL is real: no handler, no flush, no goodbye.
 */
import {randomUUID} from 'node:crypto'
import {readFileSync} from 'node:fs'
import {join} from 'node:path'
import {createClient} from '../../src/agent/client/client.js'
import {DbaasError} from '../../src/core/errors.js'
import {startApp} from '../../src/agent/app.js'
import type {ProbePoint} from '../../src/agent/workflow/engine.js'

type Point = Omit<ProbePoint, 'operationId'>

export interface Probe {
  /** `laterMs`: so long after it has come there, wherever it is by then. */
  readonly kill?: Point & {readonly laterMs?: number}
  readonly fault?: {readonly kind: string; readonly step: string}
  /** Cancelled there by a request, as by a person. */
  readonly cancel?: Point
}

const isAt = (wanted: Point | undefined, point: ProbePoint): boolean =>
  wanted !== undefined && wanted.kind === point.kind && wanted.step === point.step && wanted.direction === point.direction && wanted.when === point.when
const die = (): boolean => process.kill(process.pid, 'SIGKILL')

const probe = JSON.parse(process.env.TEST_PROBE ?? '{}') as Probe
const packageRoot = process.env.TEST_PACKAGE_ROOT as string
const {version} = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {version: string}

const app = await startApp({
  home: process.env.DBAAS_HOME as string, siteName: 'test', region: 'test', packageRoot, version, log: () => undefined, poolSize: 1, env: process.env,
  async probe(point) {
    const {kill, fault, cancel} = probe
    if (isAt(kill, point)) {
      if (kill?.laterMs === undefined) {
        die()
        await new Promise(() => undefined)
      } else setTimeout(die, kill.laterMs)
    }
    if (app && isAt(cancel, point)) {
      await createClient({target: {socketPath: app.socket}}).call('operations.cancel', {params: {operation: point.operationId}, idempotencyKey: randomUUID()})
    }
    if (fault && point.when === 'after' && point.direction === 'forward' && fault.kind === point.kind && fault.step === point.step) {
      throw new DbaasError('COMMAND_FAILED', `a fault was injected at ${point.step}`)
    }
  },
})
if (app) await app.ended
process.exit(0)
