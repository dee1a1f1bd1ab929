import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {join} from 'node:path'
import fc from 'fast-check'
import {DbaasError} from '../../../src/core/errors.js'
import {hasEnded, type OperationRecord} from '../../../src/core/workflow/operation.js'
import {abort, done, next, wait, workflow} from '../../../src/core/workflow/workflow.js'
import {createVault} from '../../../src/agent/store/secrets.js'
import {openSqliteStore} from '../../../src/agent/store/sqlite/store.js'
import type {Store, Tx} from '../../../src/agent/store/store.js'
import {createWorkflowEngine, type AnyWorkflow, type ProbePoint, type WorkflowEngine} from '../../../src/agent/workflow/engine.js'
import {temporaryFolder} from '../../support/temporary.js'

let serial = 0
const operation = (kind: string, start: string, patch: Partial<OperationRecord> = {}): OperationRecord => ({
  id: `op_${++serial}`, tenantId: 'default', kind, instanceId: null, lane: 'instance', status: 'pending', input: {}, step: start, direction: 'forward', attempt: 1,
  stepStartedAt: null, steps: [], result: null, error: null, cancelRequested: false, principalId: 'test', requestId: 'req',
  deadlineAt: Date.now() + 60_000, runAt: 0, leaseOwner: null, leaseUntil: null, createdAt: Date.now() + serial, endedAt: null, ...patch,
})

describe('the workflow engine', () => {
  const folder = temporaryFolder('workflow')
  let store: Store
  const engines: WorkflowEngine[] = []
  before(() => (store = openSqliteStore(join(folder.path, 'metadata.db'), () => createVault(randomBytes(32)))))
  afterEach(async () => {
    for (const engine of engines.splice(0)) await engine.stop()
  })
  after(async () => {
    await store.close()
    folder.dispose()
  })

  function engineOf(workflows: readonly unknown[], probe?: (point: ProbePoint) => Promise<void>, owner = 'boot'): WorkflowEngine {
    const engine = createWorkflowEngine({
      store, clock: {now: Date.now}, owner, workflows: workflows as AnyWorkflow[], parallelism: 4, random: () => 0, log: () => undefined,
      changed: () => undefined, ...(probe ? {probe} : {}),
    })
    engines.push(engine)
    return engine
  }
  async function run(engine: WorkflowEngine, op: OperationRecord): Promise<OperationRecord> {
    await store.transact('platform', (tx) => tx.operations.insert(op))
    engine.poke()
    return ended(op.id)
  }
  async function ended(id: string): Promise<OperationRecord> {
    for (let i = 0; i < 2000; i++) {
      const found = await store.read('platform', (tx) => tx.operations.get(id))
      if (found && hasEnded(found.status)) return found
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    throw new Error(`${id} did not end`)
  }

  it('lets a lane of an instance pass another, and no operation the one before it in its own', async () => {
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => (release = resolve))
    const order: string[] = []
    const step = (name: string, work: Promise<void>) => workflow<object, Tx>()({
      kind: name, start: 'a', order: ['a'], deadlineSeconds: 60, steps: {a: {async run() { await work; order.push(name); return done() }}},
    })
    const engine = engineOf([step('slow', held), step('quick', Promise.resolve()), step('beside', Promise.resolve())])
    const ops = [
      operation('slow', 'a', {instanceId: 'ins_lanes', lane: 'backup'}), operation('beside', 'a', {instanceId: 'ins_lanes', lane: 'backup'}),
      operation('quick', 'a', {instanceId: 'ins_lanes'}),
    ] as const
    await store.transact('platform', async (tx) => {
      for (const op of ops) await tx.operations.insert(op)
    })
    assert.deepEqual((await store.read('platform', (tx) => tx.operations.openOfInstance('ins_lanes', 'backup'))).map((o) => o.kind), ['slow', 'beside'])
    assert.deepEqual((await store.read('platform', (tx) => tx.operations.openOfInstance('ins_lanes'))).map((o) => o.kind), ['quick'])
    engine.poke()
    await ended(ops[2].id)
    assert.deepEqual(order, ['quick'])
    release()
    await ended(ops[1].id)
    assert.deepEqual(order, ['quick', 'slow', 'beside'])
  })

  it('runs the steps in order, each outcome with its state change, and ends with the result', async () => {
    const flow = workflow<object, Tx>()({
      kind: 'two', start: 'a', order: ['a', 'b'], deadlineSeconds: 60,
      steps: {
        a: {async run({commit}) { commit((tx) => tx.settings.put('two.a', 'yes')); return next('b') }},
        b: {async run() { return done({answer: 42}) }},
      },
      onDone: (tx) => tx.settings.put('two.done', 'yes'),
    })
    const end = await run(engineOf([flow]), operation('two', 'a'))
    assert.equal(end.status, 'succeeded')
    assert.deepEqual(end.result, {answer: 42})
    assert.deepEqual(end.steps.map((s) => [s.name, s.status]), [['a', 'succeeded'], ['b', 'succeeded']])
    assert.equal(await store.read('platform', (tx) => tx.settings.get('two.a')), 'yes')
    assert.equal(await store.read('platform', (tx) => tx.settings.get('two.done')), 'yes')
  })

  it('undoes the failed step and the finished ones in reverse when a step fails for good', async () => {
    const undone: string[] = []
    const flow = workflow<object, Tx>()({
      kind: 'fails', start: 'a', order: ['a', 'b', 'c'], deadlineSeconds: 60,
      steps: {
        a: {async run() { return next('b') }, async undo() { undone.push('a') }},
        b: {async run() { return next('c') }, async undo({undoing}) { undone.push(`b: ${undoing}`) }},
        c: {async run() { throw new DbaasError('INVALID_PARAMETER_VALUE', 'not so') }, async undo() { undone.push('c') }},
      },
    })
    const end = await run(engineOf([flow]), operation('fails', 'a'))
    assert.equal(end.status, 'failed')
    assert.equal(end.error?.code, 'INVALID_PARAMETER_VALUE')
    assert.deepEqual(undone, ['c', 'b: not so', 'a'])
  })

  it('aborts with a reason, which becomes the error', async () => {
    const flow = workflow<object, Tx>()({kind: 'aborts', start: 'a', order: ['a'], deadlineSeconds: 60, steps: {a: {async run() { return abort('the primary came back') }}}})
    const end = await run(engineOf([flow]), operation('aborts', 'a'))
    assert.equal(end.error?.message, 'the primary came back')
  })

  it('tries a transient error again, and a waiting step after its time', async () => {
    let tries = 0
    let waits = 0
    const flow = workflow<object, Tx>()({
      kind: 'flaky', start: 'a', order: ['a', 'b'], deadlineSeconds: 60,
      steps: {
        a: {async run({attempt}) { tries = attempt; if (attempt < 3) throw new DbaasError('DATABASE_UNAVAILABLE', 'not yet'); return next('b') }},
        b: {async run() { return ++waits < 3 ? wait(0.01, 'it is slow') : done() }},
      },
    })
    assert.equal((await run(engineOf([flow]), operation('flaky', 'a'))).status, 'succeeded')
    assert.equal(tries, 3)
    assert.equal(waits, 3)
  })

  it('gives up a transient error when the patience of the step is over', async () => {
    const flow = workflow<object, Tx>()({
      kind: 'never', start: 'a', order: ['a'], deadlineSeconds: 60,
      steps: {a: {retrySeconds: 0.2, async run() { throw new DbaasError('DATABASE_UNAVAILABLE', 'never') }}},
    })
    assert.equal((await run(engineOf([flow]), operation('never', 'a'))).error?.code, 'DATABASE_UNAVAILABLE')
  })

  it('cancels between steps and undoes, but not past the point of no return', async () => {
    let reached!: () => void
    const atB = new Promise<void>((resolve) => (reached = resolve))
    let undone = false
    const flow = workflow<object, Tx>()({
      kind: 'long', start: 'a', order: ['a', 'b'], deadlineSeconds: 60,
      steps: {
        a: {async run() { return next('b') }, async undo() { undone = true }},
        b: {async run({signal}) {
          reached()
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('stopped'))))
          return done()
        }},
      },
    })
    const engine = engineOf([flow, {...flow, kind: 'committed', pointOfNoReturn: 'b', steps: {...flow.steps, b: {async run() {
      reached()
      await new Promise((resolve) => setTimeout(resolve, 100))
      return done()
    }}}}])
    const op = operation('long', 'a')
    const end = run(engine, op)
    await atB
    await engine.cancel(op)
    assert.equal((await end).status, 'cancelled')
    assert.equal(undone, true)
    await assert.rejects(engine.cancel(op), (e: unknown) => e instanceof DbaasError && e.code === 'NOT_CANCELLABLE')

    const again = new Promise<void>((resolve) => (reached = resolve))
    const other = operation('committed', 'a')
    const finish = run(engine, other)
    await again
    await assert.rejects(engine.cancel(other), (e: unknown) => e instanceof DbaasError && e.code === 'NOT_CANCELLABLE')
    assert.equal((await finish).status, 'succeeded')
  })

  it('undoes what passes its deadline', async () => {
    const flow = workflow<object, Tx>()({
      kind: 'slow', start: 'a', order: ['a'], deadlineSeconds: 60,
      steps: {a: {async run({signal}) { await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('late')))); return done() }}},
    })
    const end = await run(engineOf([flow]), operation('slow', 'a', {deadlineAt: Date.now() + 100}))
    assert.equal(end.status, 'failed')
    assert.equal(end.error?.code, 'DEADLINE_EXCEEDED')
  })

  it('runs operations of one instance one after another, in order, and of different ones in parallel', async () => {
    const log: string[] = []
    let together = 0
    let most = 0
    const flow = workflow<{name: string}, Tx>()({
      kind: 'serial', start: 'a', order: ['a'], deadlineSeconds: 60,
      steps: {a: {async run({input}) {
        log.push(`+${input.name}`)
        most = Math.max(most, ++together)
        await new Promise((resolve) => setTimeout(resolve, 30))
        together--
        log.push(`-${input.name}`)
        return done()
      }}},
    })
    const engine = engineOf([flow])
    const ops = [['x', 'x1'], ['x', 'x2'], ['y', 'y1']].map(([instanceId, name]) => operation('serial', 'a', {instanceId: instanceId as string, input: {name: name as string}}))
    for (const op of ops) await store.transact('platform', (tx) => tx.operations.insert(op))
    engine.poke()
    for (const op of ops) await ended(op.id)
    assert.deepEqual(log.filter((l) => l.includes('x')), ['+x1', '-x1', '+x2', '-x2'])
    assert.equal(most, 2)
  })

  it('does not spin on an operation that it cannot drive, and drives it when it can again', async () => {
    const flow = workflow<object, Tx>()({kind: 'later', start: 'a', order: ['a'], deadlineSeconds: 60, steps: {a: {async run() { return done() }}}})
    const op = operation('later', 'a')
    await store.transact('platform', (tx) => tx.operations.insert(op))
    let writes = 0
    let full = true
    const failing: Store = {...store, transact: (scope, change) => {
      writes++
      return full ? Promise.reject(new DbaasError('DISK_FULL', 'full')) : store.transact(scope, change)
    }}
    const engine = createWorkflowEngine({
      store: failing, clock: {now: Date.now}, owner: 'boot', workflows: [flow] as unknown as AnyWorkflow[], parallelism: 4, random: () => 0,
      log: () => undefined, changed: () => undefined,
    })
    engines.push(engine)
    engine.poke()
    await new Promise((resolve) => setTimeout(resolve, 400))
    assert.ok(writes <= 3, `${writes} tries in 400 ms`)
    full = false
    assert.equal((await ended(op.id)).status, 'succeeded')
  })

  it('ends the same when it is killed at any points of any workflow and started again', async function () {
    this.timeout(120_000)
    await fc.assert(fc.asyncProperty(
      fc.integer({min: 1, max: 5}), fc.option(fc.nat({max: 4}), {nil: undefined}), fc.array(fc.nat({max: 30}), {maxLength: 4}),
      async (count, failAt, kills) => {
        const names = Array.from({length: count}, (_, i) => `s${i}`)
        /** The world: what exists, made by steps and taken back by undos. Never double, never left. */
        const world = new Set<string>()
        const make = (name: string, i: number) => ({
          async run() {
            if (failAt === i) throw new DbaasError('SERVER_START_FAILED', 'broken')
            world.add(name)
            return i + 1 < count ? next(names[i + 1] as string) : done()
          },
          async undo() { world.delete(name) },
        })
        const flow = {
          kind: 'killed', start: 's0', order: names, deadlineSeconds: 60,
          steps: Object.fromEntries(names.map((name, i) => [name, make(name, i)])),
        }
        const op = operation('killed', 's0')
        await store.transact('platform', (tx) => tx.operations.insert(op))
        const left = [...kills].sort((a, b) => a - b)
        for (let boot = 0; ; boot++) {
          let point = 0
          const killAt = left.shift()
          const dies = new Promise<'dead'>((resolve) => {
            const engine = engineOf([flow], async () => {
              if (killAt !== undefined && point++ === killAt % 8) {
                resolve('dead')
                await new Promise(() => undefined)
              }
            }, `boot-${boot}`)
            // a killed process does not get to stop gracefully
            engines.splice(engines.indexOf(engine), 1)
            void engine.start()
          })
          if ((await Promise.race([dies, ended(op.id)])) !== 'dead') break
        }
        const end = await ended(op.id)
        const fails = failAt !== undefined && failAt < count
        assert.equal(end.status, fails ? 'failed' : 'succeeded')
        assert.deepEqual([...world].sort(), fails ? [] : names)
      },
    ), {numRuns: 100})
  })
})
