/** What every runtime promises (src/agent/runtimes/runtime.ts), as one suite: a new runtime adds a name and a fixture. */
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {join} from 'node:path'
import type {ServerCommand} from '../../src/engines/engine.js'
import type {Host} from '../../src/engines/host.js'
import {placementOf} from './placement.js'
import type {DataMaker, DataPool, Placement, Runtime, Software} from '../../src/agent/runtimes/runtime.js'

export interface RuntimeUnderTest {
  readonly siteId: string
  readonly engine: string
  readonly version: string
  /** A runtime over the same site each time: what an agent has after its restart. */
  open(): Promise<Runtime>
  /** What starts a server that has children, ends with 7 on SIGTERM, and logs a line with `ready`. */
  command(host: Host): ServerCommand
  /** Makes a data directory: a file `identity`. */
  initialise(host: Host): Promise<void>
  /** Whatever of the site exists now: processes, folders, groups; one line each. */
  leftovers(): Promise<readonly string[]>
  /** Ends one server behind the runtime's back, its children left alone; SIGKILL to the main process. */
  killMainOnly(node: Placement, pid: number | null): Promise<void>
  /** Refs that name no server, though they look like this one: another run of it, another boot, another's process. */
  lies(ref: string): readonly string[]
  dispose(): Promise<void>
}

const never = new AbortController().signal
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export function runtimeConformance(name: string, make: () => Promise<RuntimeUnderTest>): void {
  describe(`the runtime ${name} keeps what every runtime promises`, () => {
    let fixture: RuntimeUnderTest
    let runtime: Runtime
    /** What the servers run from, as the runtime's own store has it. */
    let software: Software
    const opened: Runtime[] = []
    const placed: Placement[] = []
    let serial = 0

    before(async () => {
      fixture = await make()
      runtime = await reopen()
      const located = await runtime.software.locate(fixture.engine, fixture.version)
      assert.ok(located, 'the engine is installed')
      assert.equal(located.version, fixture.version)
      software = {engine: fixture.engine, version: located.version, image: located.image}
    })
    afterEach(async () => {
      for (const placement of placed.splice(0)) await runtime.remove(placement)
      await runtime.tidy(new Set())
      assert.deepEqual(await fixture.leftovers(), [])
    })
    after(async () => {
      for (const each of opened) await each.close()
      await fixture.dispose()
    })

    const pool = (): DataPool => {
      assert.ok(runtime.pool)
      return runtime.pool
    }
    /** A runtime may have no pool: where a prepared directory would save nothing. */
    const itHasPool = (title: string, body: () => Promise<void>): void =>
      void it(title, async function () {
        if (runtime.pool === null) this.skip()
        await body()
      })

    const sealed = (host: Host): string => join(host.paths.data, 'sealed')
    const maker = (): DataMaker => ({make: fixture.initialise, seal: (host) => host.write({path: sealed(host), content: ''})})

    async function reopen(): Promise<Runtime> {
      const next = await fixture.open()
      opened.push(next)
      return next
    }

    function placement(patch: Partial<Placement> = {}): Placement {
      serial++
      const made = placementOf({
        nodeId: `nod_test${serial}`, nodeName: `demo${serial}-1`, instanceId: `ins_test${serial}`, instanceName: `demo${serial}`,
        ...software, port: 27_000 + serial, ...patch,
      })
      placed.push(made)
      return made
    }

    async function started(): Promise<{node: Placement; ref: string; pid: number | null; command: ServerCommand}> {
      const node = placement()
      await runtime.place(node)
      await fixture.initialise(runtime.host(node))
      const command = fixture.command(runtime.host(node))
      const {ref, pid} = await runtime.start(node, command)
      await ready(node)
      return {node, ref, pid, command}
    }

    async function ready(node: Placement, times = 1): Promise<void> {
      for (let i = 0; i < 300; i++) {
        if ((await lines(node)).filter((line) => line.includes('ready')).length >= times) return
        await pause(20)
      }
      assert.fail(`the server did not get ready: ${(await lines(node)).join(' | ')}`)
    }

    async function lines(node: Placement, count?: number): Promise<string[]> {
      const read: string[] = []
      const options = {follow: false, signal: never, ...(count === undefined ? {} : {lines: count})}
      for await (const line of runtime.logs(node, options)) read.push(line)
      return read
    }

    it('makes a place once and again, and what is in it stays', async () => {
      const node = placement()
      assert.deepEqual(await runtime.observe(node, null), {state: 'absent'})
      await runtime.place(node)
      const host = runtime.host(node)
      await host.write({path: join(host.paths.data, 'kept'), content: 'x'})
      await runtime.place(node)
      assert.equal((await host.read(join(host.paths.data, 'kept')))?.toString(), 'x')
      assert.deepEqual(await runtime.observe(node, null), {state: 'stopped', exitCode: null, because: null})
    })

    it('starts one server however often it is asked, at once or one after the other', async () => {
      const {node, ref, command} = await started()
      const again = await Promise.all([runtime.start(node, command), runtime.start(node, command), runtime.start(node, command)])
      assert.deepEqual(again.map((each) => each.ref), [ref, ref, ref])
      assert.equal((await lines(node)).filter((line) => line.includes('ready')).length, 1)
    })

    it('finds a running server after the agent restarts, with its ref and without', async () => {
      const {node, ref, pid, command} = await started()
      const next = await reopen()
      const seen = await runtime.observe(node, ref)
      assert.ok(seen.state === 'running' && seen.peerAddress !== null)
      assert.deepEqual(seen, {state: 'running', ref, pid, impairment: null, peerAddress: seen.peerAddress})
      assert.deepEqual(await next.observe(node, ref), seen)
      assert.deepEqual(await next.observe(node, null), seen)
      assert.equal((await next.start(node, command)).ref, ref)
    })

    it('sees the exit of its own server at once, with the exit code', async () => {
      const {node, ref} = await started()
      const at = Date.now()
      const exit = new Promise<number | null>((resolve) => runtime.watch(node, ref, (end) => resolve(end.exitCode)))
      await runtime.signal(node, ref, 'SIGTERM')
      assert.equal(await exit, 7)
      assert.ok(Date.now() - at < 1000)
      assert.deepEqual(await runtime.observe(node, ref), {state: 'stopped', exitCode: 7, because: null})
    })

    it('sees the exit of an adopted server within 100 ms, and no more after unwatch', async () => {
      const {node, ref} = await started()
      const next = await reopen()
      let unwanted = false
      next.watch(node, ref, () => (unwanted = true))()
      const seen = new Promise<number>((resolve) => next.watch(node, ref, () => resolve(Date.now())))
      const own = new Promise<number>((resolve) => runtime.watch(node, ref, () => resolve(Date.now())))
      await runtime.signal(node, ref, 'SIGKILL')
      const late = (await seen) - (await own)
      assert.ok(late <= 100, `seen ${late} ms late`)
      assert.equal(unwanted, false)
    })

    it('calls back for a server that has ended before it was watched', async () => {
      const {node, ref} = await started()
      await runtime.kill(node, ref)
      await new Promise<void>((resolve) => runtime.watch(node, ref, () => resolve()))
    })

    it('kills the whole server, and again without an error', async () => {
      const {node, ref} = await started()
      await runtime.kill(node, ref)
      assert.equal((await runtime.observe(node, ref)).state, 'stopped')
      assert.deepEqual((await fixture.leftovers()).filter((line) => line.startsWith('process')), [])
      await runtime.kill(node, ref)
      await runtime.kill(node, null)
      await runtime.signal(node, ref, 'SIGTERM')
    })

    /** Why it cannot serve though it lives, as far as the runtime or the system tells. */
    async function impairment(node: Placement, {ref, pid}: {ref: string; pid: number | null}): Promise<string | null> {
      const now = await runtime.observe(node, ref)
      assert.equal(now.state, 'running')
      const stopped = pid !== null && /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
      return stopped ? 'it is stopped' : (now as {impairment: string | null}).impairment
    }

    it('stops a server dead without ending it, lets it go on, and kills one that hangs', async () => {
      const {node, ...server} = await started()
      await runtime.faults.hang(node)
      await runtime.faults.hang(node)
      assert.match(String(await impairment(node, server)), /stopped|paused/)
      await runtime.faults.heal(node)
      await runtime.faults.heal(node)
      assert.equal(await impairment(node, server), null)
      await runtime.faults.hang(node)
      await runtime.kill(node, server.ref)
      assert.equal((await runtime.observe(node, server.ref)).state, 'stopped')
      await runtime.faults.heal(node)
    })

    it('cuts a server off and puts it back, or says why it cannot', async () => {
      const {node, ...server} = await started()
      if (runtime.faults.whyNotCut !== null) return assert.rejects(runtime.faults.cut(node), {code: 'NOT_SUPPORTED', message: runtime.faults.whyNotCut})
      await runtime.faults.cut(node)
      await runtime.faults.cut(node)
      assert.match(String(await impairment(node, server)), /network/)
      assert.equal((await runtime.observe(node, server.ref) as {peerAddress: unknown}).peerAddress, null)
      await runtime.faults.heal(node)
      assert.equal(await impairment(node, server), null)
    })

    it('kills the whole server as an agent that did not start it and has lost the ref', async () => {
      const {node} = await started()
      await (await reopen()).kill(node, null)
      assert.deepEqual((await fixture.leftovers()).filter((line) => line.startsWith('process')), [])
    })

    it('takes a server whose main process was killed for stopped, and clears its children before it starts another', async () => {
      const {node, ref, pid, command} = await started()
      const before = (await fixture.leftovers()).filter((line) => line.startsWith('process'))
      await fixture.killMainOnly(node, pid)
      for (let i = 0; i < 100 && (await runtime.observe(node, ref)).state === 'running'; i++) await pause(10)
      assert.equal((await runtime.observe(node, null)).state, 'stopped')
      const next = await runtime.start(node, command)
      assert.notEqual(next.ref, ref)
      await ready(node, 2)
      const after = (await fixture.leftovers()).filter((line) => line.startsWith('process'))
      // those of before that matter are workers: none of them lives beside the new ones
      assert.deepEqual(after.filter((line) => before.includes(line)), [])
    })

    it('does not take a ref that is stale, of another run or another boot, or no ref at all, for a server', async () => {
      const node = placement()
      await runtime.place(node)
      const {ref} = await started()
      for (const lie of [...fixture.lies(ref), 'nonsense', '', 'null', '{}', '[]']) {
        assert.equal((await runtime.observe(node, lie)).state, 'stopped', lie)
        await runtime.signal(node, lie, 'SIGKILL')
        await runtime.kill(node, lie)
      }
      assert.equal((await runtime.observe(placed.at(-1) as Placement, ref)).state, 'running')
    })

    it('tells the exit code of a server that ends by itself, and its last words', async () => {
      const node = placement()
      await runtime.place(node)
      const host = runtime.host(node)
      await fixture.initialise(host)
      await host.write({path: join(host.paths.data, 'broken'), content: ''})
      const {ref} = await runtime.start(node, fixture.command(host))
      assert.equal(await new Promise((resolve) => runtime.watch(node, ref, (end) => resolve(end.exitCode))), 3)
      assert.deepEqual(await runtime.observe(node, null), {state: 'stopped', exitCode: 3, because: null})
      assert.match((await lines(node)).join('\n'), /FATAL: broken/)
    })

    it('removes a running server with its place and its data, and again without an error', async () => {
      const {node} = await started()
      await runtime.remove(node)
      assert.deepEqual(await runtime.observe(node, null), {state: 'absent'})
      assert.deepEqual(await fixture.leftovers(), [])
      await runtime.remove(node)
      assert.equal(await runtime.usage(node), undefined)
    })

    it('lists every place with what it was made for, running or not', async () => {
      const {node} = await started()
      const idle = placement()
      await runtime.place(idle)
      // a machine may have strangers, and other sites
      const found = new Map((await (await reopen()).list()).filter((each) => each.placement && each.siteId === fixture.siteId).map((each) => [each.nodeId, each]))
      assert.deepEqual(found.get(node.nodeId)?.placement, node)
      assert.equal(found.get(node.nodeId)?.running, true)
      assert.deepEqual(found.get(idle.nodeId)?.placement, idle)
      assert.equal(found.get(idle.nodeId)?.running, false)
      assert.equal(found.size, 2)
    })

    it('measures what a server takes', async () => {
      const {node} = await started()
      const usage = await runtime.usage(node)
      assert.ok(usage && usage.memoryBytes > 0 && usage.diskBytes > 0 && usage.cpuSeconds >= 0, JSON.stringify(usage))
    })

    it('changes the limits of a running server, and the label with them', async () => {
      const {node, ref} = await started()
      const size = {name: 'custom', cpu: 1.5, memory_bytes: 256 * 1024 ** 2, storage_bytes: 1024 ** 3}
      await runtime.limit({...node, size})
      assert.equal((await runtime.observe(node, ref)).state, 'running')
      assert.deepEqual((await runtime.list()).find((each) => each.nodeId === node.nodeId)?.placement?.size, size)
    })

    it('gives the last lines of a log, and follows it as it grows', async () => {
      const {node, ref} = await started()
      assert.deepEqual((await lines(node)).filter((line) => line.startsWith('fakedb')), ['fakedb: starting', 'fakedb: ready'])
      assert.equal((await lines(node, 1)).length, 1)
      assert.deepEqual(await lines(node, 0), [])
      const stop = new AbortController()
      const seen: string[] = []
      const following = (async () => {
        for await (const line of runtime.logs(node, {lines: 1, follow: true, signal: stop.signal})) {
          seen.push(line)
          if (line.includes('stopping')) stop.abort()
        }
      })()
      while (seen.length === 0) await pause(5)
      await runtime.signal(node, ref, 'SIGTERM')
      await following
      assert.deepEqual(seen, ['fakedb: ready', 'fakedb: stopping'])
    })

    itHasPool('gives each prepared data directory to exactly one node, however many ask at once', async () => {
      for (let i = 0; i < 3; i++) await pool().prepare('key-1', software, maker())
      assert.equal(await pool().count('key-1'), 3)
      assert.equal(await pool().count('other'), 0)
      const nodes = Array.from({length: 8}, () => placement())
      for (const node of nodes) await runtime.place(node)
      const claims = await Promise.all(nodes.map((node) => pool().claim('key-1', node, maker())))
      assert.equal(claims.filter(Boolean).length, 3)
      assert.equal(await pool().count('key-1'), 0)
      const identities = new Set<string>()
      for (const [i, node] of nodes.entries()) {
        const host = runtime.host(node)
        const names = await host.list(host.paths.data)
        assert.equal(names.length > 0, claims[i], 'a node has data if and only if its claim says so')
        if (!claims[i]) continue
        assert.deepEqual([...names].sort(), ['identity', 'sealed'])
        identities.add(String(await host.read(join(host.paths.data, 'identity'))))
      }
      assert.equal(identities.size, 3)
      await runtime.start(nodes[claims.indexOf(true)] as Placement, fixture.command(runtime.host(nodes[claims.indexOf(true)] as Placement)))
    })

    itHasPool('does not give a prepared data directory to a node that has data', async () => {
      await pool().prepare('key-1', software, maker())
      const node = placement()
      await runtime.place(node)
      const host = runtime.host(node)
      await host.write({path: join(host.paths.data, 'precious'), content: 'x'})
      assert.equal(await pool().claim('key-1', node, maker()), false)
      assert.deepEqual(await host.list(host.paths.data), ['precious'])
      assert.equal(await pool().count('key-1'), 1)
    })

    itHasPool('seals a prepared data directory once, after all else of it', async () => {
      const seen: string[][] = []
      const watched: DataMaker = {
        ...maker(),
        async seal(host) {
          seen.push(await host.list(host.paths.data))
          await maker().seal(host)
        },
      }
      const node = placement()
      await runtime.place(node)
      await pool().prepare('key-1', software, watched)
      assert.equal(await pool().claim('key-1', node, watched), true)
      assert.deepEqual(seen, [['identity']])
      assert.equal(await runtime.host(node).exists(sealed(runtime.host(node))), true)
    })

    itHasPool('gives what it has after the agent was restarted, and room is asked without an instance', async () => {
      await pool().prepare('key-1', software, maker())
      const next = await reopen()
      assert.ok(next.pool)
      assert.ok((await next.pool.roomBytes()) > 0)
      await next.tidy(new Set(['key-1']))
      assert.equal(await next.pool.count('key-1'), 1)
      const node = placement()
      await next.place(node)
      assert.equal(await next.pool.claim('key-1', node, maker()), true)
      assert.equal(await pool().count('key-1'), 0)
    })

    itHasPool('never counts or gives what was not finished, and prunes the keys nobody keeps', async () => {
      const failing = pool().prepare('key-1', software, {
        ...maker(),
        async make(host) {
          await fixture.initialise(host)
          assert.equal(await pool().count('key-1'), 0, 'not while it is made')
          throw new Error('initdb failed')
        },
      })
      await assert.rejects(failing, /initdb failed/)
      assert.equal(await pool().count('key-1'), 0)
      await pool().prepare('key-1', software, maker())
      await pool().prepare('key-2', software, maker())
      await runtime.tidy(new Set(['key-2']))
      assert.equal(await pool().count('key-1'), 0)
      assert.equal(await pool().count('key-2'), 1)
    })

    it('ends a scratch server and removes its place, whether its user returns or throws', async () => {
      const ports = new Set<number>()
      const one = (fail: boolean) => runtime.scratch.use(software, async ({host, start}) => {
        await fixture.initialise(host)
        await start(fixture.command(host))
        const {port} = host.address()
        assert.equal(ports.has(port), false, 'two of them at once do not share a port')
        ports.add(port)
        await pause(100)
        ports.delete(port)
        if (fail) throw new Error('mine')
        return 42
      })
      assert.equal(await one(false), 42)
      assert.deepEqual(await fixture.leftovers(), [])
      await assert.rejects(one(true), /mine/)
      assert.deepEqual(await fixture.leftovers(), [])
      assert.deepEqual(await Promise.all([one(false), one(false), one(false)]), [42, 42, 42])
    })

    it('runs programs with a clean environment, and ends them with their children in time', async () => {
      const node = placement()
      await runtime.place(node)
      const host = runtime.host(node)
      process.env.DBAAS_SECRET_OF_TEST = 'of the agent alone'
      const script = 'cat; echo "$HOME|$LANG|$TZ|$X|$DBAAS_SECRET_OF_TEST"; echo no >&2; exit 5'
      const said = await host.exec(['/bin/sh', '-c', script], {stdin: 'in\n', env: {X: 'y'}})
      delete process.env.DBAAS_SECRET_OF_TEST
      assert.deepEqual(said, {code: 5, stdout: `in\n${host.paths.tmp}|C|UTC|y|\n`, stderr: 'no\n', timedOut: false})
      const at = Date.now()
      const slow = await host.exec(['/bin/sh', '-c', 'sleep 30 & sleep 30'], {timeoutSeconds: 0.2})
      assert.equal(slow.timedOut, true)
      assert.ok(Date.now() - at < 5000)
      const stop = new AbortController()
      setTimeout(() => stop.abort(new Error('cancelled')), 50)
      await assert.rejects(host.exec(['/bin/sleep', '30'], {signal: stop.signal}), /cancelled/)
      await assert.rejects(host.exec(['/no/such/program']), {code: 'RUNTIME_UNAVAILABLE'})
      assert.deepEqual((await fixture.leftovers()).filter((line) => line.startsWith('process')), [])
    })

    it('tells what the site has and which limits hold', async () => {
      const facts = await runtime.facts()
      assert.ok(facts.cpus > 0 && facts.memoryAvailableBytes > 0 && facts.memoryAvailableBytes <= facts.memoryTotalBytes && facts.diskFreeBytes > 0)
      for (const limit of Object.values(facts.limits)) assert.ok(limit.enforced || limit.because, JSON.stringify(limit))
    })
  })
}
