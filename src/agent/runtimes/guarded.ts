/**
 * A runtime behind a circuit breaker: after a few answers in a row that did not come, it is not asked for a moment, so
 * that nobody waits for what is known to be away (SPEC.md: graceful degradation).
 */
import {CircuitState, ConsecutiveBreaker, circuitBreaker, handleWhen} from 'cockatiel'
import {DbaasError} from '../../core/errors.js'
import type {Runtime} from './runtime.js'

const maxFailures = 3
const resetMs = 2000

export interface Breaker {
  readonly name: string
  readonly maxFailures: number
  /** Until it lets one request through to see. */
  readonly resetSeconds: number
  /** Share of failures among the last `maxFailures` that opens it. */
  readonly failureThreshold: number
  state(): 'closed' | 'open' | 'half-open'
}

const isAway = (error: unknown): boolean => error instanceof DbaasError && error.code === 'RUNTIME_UNAVAILABLE'

export function guarded(inner: Runtime): {runtime: Runtime; breaker: Breaker} {
  const policy = circuitBreaker(handleWhen(isAway), {halfOpenAfter: resetMs, breaker: new ConsecutiveBreaker(maxFailures)})
  let last = ''

  async function ask<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await policy.execute(work)
    } catch (error) {
      if (isAway(error)) last = (error as DbaasError).message
      else if (policy.state !== CircuitState.Closed && !(error instanceof DbaasError)) {
        throw new DbaasError('RUNTIME_UNAVAILABLE', `${last}; it is asked again in a moment`, {
          cause: error, details: {runtime: inner.name}, suggestions: ['dbaas doctor'],
        })
      }
      throw error
    }
  }

  /** What waits for a person's program or a download has its own end; all that only asks is guarded. */
  const runtime: Runtime = {
    ...inner,
    facts: () => ask(() => inner.facts()),
    whyNotPublish: (address) => ask(() => inner.whyNotPublish(address)),
    software: {
      ...inner.software,
      installed: (engine) => ask(() => inner.software.installed(engine)),
      locate: (engine, version, from) => ask(() => inner.software.locate(engine, version, from)),
    },
    place: (placement) => ask(() => inner.place(placement)),
    dataFolder: (placement) => ask(() => inner.dataFolder(placement)),
    reassign: (placement, fromInstance) => ask(() => inner.reassign(placement, fromInstance)),
    start: (placement, command) => ask(() => inner.start(placement, command)),
    observe: (placement, ref) => ask(() => inner.observe(placement, ref)),
    signal: (placement, ref, signal) => ask(() => inner.signal(placement, ref, signal)),
    kill: (placement, ref) => ask(() => inner.kill(placement, ref)),
    faults: {
      ...inner.faults,
      hang: (placement) => ask(() => inner.faults.hang(placement)),
      cut: (placement) => ask(() => inner.faults.cut(placement)),
      heal: (placement) => ask(() => inner.faults.heal(placement)),
    },
    limit: (placement) => ask(() => inner.limit(placement)),
    label: (placement) => ask(() => inner.label(placement)),
    adopt: (placement, fromSite) => ask(() => inner.adopt(placement, fromSite)),
    usage: (placement) => ask(() => inner.usage(placement)),
    remove: (placement) => ask(() => inner.remove(placement)),
    list: () => ask(() => inner.list()),
  }
  const words = {[CircuitState.Closed]: 'closed', [CircuitState.Open]: 'open', [CircuitState.HalfOpen]: 'half-open', [CircuitState.Isolated]: 'open'} as const
  return {
    runtime,
    breaker: {name: `runtime ${inner.name}`, maxFailures, resetSeconds: resetMs / 1000, failureThreshold: 1, state: () => words[policy.state]},
  }
}
