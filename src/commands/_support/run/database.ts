/** A database for one command: made, held by a lease while the command runs, given back afterwards. */
import {constants} from 'node:os'
import type {Client} from '../../../agent/client/client.js'
import type {ApiInstance, ApiOperation, CreateBody} from '../../../core/api/schemas.js'
import {DbaasError} from '../../../core/errors.js'
import {succeeded} from '../follow.js'
import {paintFor} from '../render/paint.js'
import {renderReady} from '../render/instance.js'
import {holdLease} from './lease.js'

/** An agent that has to be started first has so long; it deletes what is left by itself, so nobody need wait for it. */
const givingBackMs = 10_000

export interface Talk {
  readonly quiet: boolean
}

/** Returns the exit code of `use`; 128 + n when a signal came before. Throws what keeps the database from being made. */
export async function withDatabase(client: Client, body: CreateBody, {quiet}: Talk, use: (instance: ApiInstance) => Promise<number>): Promise<number> {
  const interruption = watchSignals()
  const say = async (line: (paint: Awaited<ReturnType<typeof paintFor>>) => string): Promise<void> => {
    if (!quiet) process.stderr.write(line(await paintFor(process.stderr)))
  }
  // a terminal that is gone must not keep the rest from being done
  process.stderr.on('error', () => undefined)
  try {
    const answer = await client.call('instances.create', {body: {...body, lease: true}, idempotencyKey: crypto.randomUUID()})
    if (!('operation' in answer)) throw new DbaasError('INTERNAL', 'a plan came back')
    const {operation, instance} = answer
    let isGone = false
    const lease = holdLease(client, instance.id, () => {
      isGone = true
      if (made) void say((paint) => `${paint.yellow('!')} ${instance.name} was deleted by somebody else\n`)
    })
    let made = false
    try {
      await follow(client, operation, interruption.signal, quiet)
      if (interruption.signal.aborted) {
        await say((paint) => `${paint.red('✗')} interrupted: ${instance.name} is taken away again\n`)
        return interruption.exitCode()
      }
      made = true
      const {instance: ready} = await client.call('instances.get', {params: {instance: instance.id}})
      await say((paint) => renderReady(ready, Date.now(), paint))
      return await use(ready)
    } finally {
      lease.release()
      if (!isGone) {
        await giveBack(client, operation, made).catch((error: unknown) =>
          say((paint) => `${paint.yellow('!')} ${instance.name} is deleted later, by its agent: ${(error as Error).message}\n`))
      }
    }
  } finally {
    interruption.release()
  }
}

async function follow(client: Client, operation: ApiOperation, signal: AbortSignal, quiet: boolean): Promise<void> {
  const {openProgress} = await import('../progress.js')
  const progress = quiet ? undefined : await openProgress(process.stderr, {brief: true})
  try {
    const ended = await client.follow(operation.id, (now) => progress?.update(now), signal)
    progress?.close()
    succeeded(ended)
  } catch (error) {
    progress?.close()
    if (!signal.aborted) throw error
  }
}

/** Returns when the agent has taken it on. */
async function giveBack(client: Client, operation: ApiOperation, made: boolean): Promise<void> {
  const signal = AbortSignal.timeout(givingBackMs)
  const idempotencyKey = crypto.randomUUID()
  const request = made
    ? client.call('instances.delete', {params: {instance: operation.instance_id ?? ''}, query: {}, idempotencyKey, signal})
    : client.call('operations.cancel', {params: {operation: operation.id}, idempotencyKey, signal})
  await request.catch((error: unknown) => {
    // it was undone, or somebody was faster
    const code = error instanceof DbaasError ? error.code : ''
    if (code !== 'INSTANCE_NOT_FOUND' && code !== 'INVALID_STATE' && code !== 'NOT_CANCELLABLE') throw error
  })
}

interface Interruption {
  readonly signal: AbortSignal
  exitCode(): number
  release(): void
}

const watched = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** The first signal stops the making; while the command runs they are its own. None ends us before the database is given back. */
function watchSignals(): Interruption {
  const controller = new AbortController()
  const listen = (signal: NodeJS.Signals) => controller.abort(signal)
  for (const name of watched) process.on(name, listen)
  return {
    signal: controller.signal,
    exitCode: () => 128 + constants.signals[controller.signal.reason as NodeJS.Signals],
    release: () => {
      for (const name of watched) process.off(name, listen)
    },
  }
}
