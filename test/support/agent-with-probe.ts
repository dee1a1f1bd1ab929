/**
 * The real agent, in a process of its own, that dies or fails at a named point: `TEST_PROBE` is JSON,
 * `{kill?: Point, fault?: {kind, step}}`. SIGKILL is real: no handler, no flush, no goodbye.
 */
import {readFileSync} from 'node:fs'
import {join} from 'node:path'
import {DbaasError} from '../../src/core/errors.js'
import {startApp} from '../../src/agent/app.js'
import type {ProbePoint} from '../../src/agent/workflow/engine.js'

export interface Probe {
  readonly kill?: Omit<ProbePoint, 'operationId'>
  readonly fault?: {readonly kind: string; readonly step: string}
}

const probe = JSON.parse(process.env.TEST_PROBE ?? '{}') as Probe
const packageRoot = process.env.TEST_PACKAGE_ROOT as string
const {version} = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {version: string}

const app = await startApp({
  home: process.env.DBAAS_HOME as string, siteName: 'test', region: 'test', packageRoot, version, log: () => undefined, poolSize: 1, env: process.env,
  async probe(point) {
    const {kill, fault} = probe
    if (kill && kill.kind === point.kind && kill.step === point.step && kill.direction === point.direction && kill.when === point.when) {
      process.kill(process.pid, 'SIGKILL')
      await new Promise(() => undefined)
    }
    if (fault && point.when === 'after' && point.direction === 'forward' && fault.kind === point.kind && fault.step === point.step) {
      throw new DbaasError('COMMAND_FAILED', `a fault was injected at ${point.step}`)
    }
  },
})
if (app) await app.ended
process.exit(0)
