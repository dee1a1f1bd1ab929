/** The runtime that runs servers as processes of this machine. See `../runtime.ts` for what it promises. */
import {execFile} from 'node:child_process'
import {stat} from 'node:fs/promises'
import {promisify} from 'node:util'
import {DbaasError} from '../../../core/errors.js'
import {formatBytes} from '../../../core/units.js'
import type {Host} from '../../../engines/host.js'
import type {RuntimeOptions} from '../options.js'
import type {Limit, LogOptions, Placement, Runtime} from '../runtime.js'
import {createCgroups} from './cgroups.js'
import {atEdge, errnoOf, translateSystem} from './errors.js'
import {siteFacts} from './facts.js'
import {findAll} from './found.js'
import {createHost} from './host.js'
import {readLog, trimLog} from './logs.js'
import {createMembership} from './membership.js'
import {createPlaces, type Place} from './places.js'
import {createPool} from './pool.js'
import {isPortFree, listenHost} from './ports.js'
import {parseRef, refOf} from './record.js'
import {serviceUser} from './service-user.js'
import {createSoftware} from './software.js'
import {createSupervisor, type Supervised} from './supervisor.js'
import {createSystemVersions} from './system-versions.js'
import {usageOf} from './usage.js'

const storageLimit: Limit = {enforced: false, because: 'folders have no quota; the size is a bound that is watched, not enforced'}

const noNetworks = 'servers that run as processes of one machine share its network: none can be cut off from the others'

/** Looks at the machine once: its user, its cgroups, what it can run in the background. Starts nothing. */
export async function createProcessRuntime(options: RuntimeOptions): Promise<Runtime> {
  const {dataRoot, siteId, engines, log} = options
  const [user, behind] = await Promise.all([serviceUser(), backgroundPrefix()])
  const cgroups = createCgroups(siteId)
  const places = createPlaces({dataRoot, siteId, user})
  const membership = createMembership({siteId, user, cgroups})
  const supervisor = createSupervisor({siteId, user, cgroups, membership})
  const software = createSoftware({...options, user, system: createSystemVersions(user, engines)})
  await atEdge(`use ${dataRoot}`, () => software.prune())
  const inTurn = createTurns()

  const serverProgram = (engine: string): string => engines[engine]?.versions.serverProgram ?? ''

  const supervised = (placement: Placement): Supervised => ({
    place: places.of(placement), serverProgram: serverProgram(placement.engine),
    bin: software.bin(placement.engine, placement.version), size: placement.size,
  })

  const hostIn = (place: Place, of: {engine: string; version: string}, how: {port: number; background: boolean}): Host =>
    createHost({
      place, siteId, user, port: how.port, bin: () => software.bin(of.engine, of.version),
      behind: how.background ? behind : undefined,
    })

  const pool = createPool({
    dataRoot, user, places, hostIn, serverProgram,
    async ensureSoftware({engine, version}) {
      if (await software.locate(engine, version)) return
      throw new DbaasError('ENGINE_NOT_INSTALLED', `${engine} ${version} is not installed on this site`, {
        details: {engine, version}, suggestions: [`dbaas engines install ${engine}@${version}`],
      })
    },
    async startIn(place, {engine, version}, command) {
      await supervisor.start({place, serverProgram: serverProgram(engine), bin: software.bin(engine, version), size: null}, command)
    },
    clear: (what) => supervisor.kill(what, null),
  })

  const isPlaced = async (placement: Placement): Promise<boolean> =>
    (await stat(places.of(placement).data).catch(() => undefined))?.isDirectory() ?? false

  return {
    name: 'process',
    software,
    pool,
    scratch: pool.scratch,
    tidy: pool.tidy,
    stopBackground: pool.stop,

    facts: () => atEdge('look at this machine', () =>
      siteFacts({dataRoot, limits: {...cgroups.limits, storage: storageLimit}, serverUser: user.name})),

    place: (placement) => inTurn(placement.nodeId, () => atEdge(`make the place of ${placement.instanceName}`, async () => {
      if (await isPlaced(placement)) {
        // an agent that was killed may have left a tool at work in it (initdb), which must not meet its successor
        const what = supervised(placement)
        const all = membership.look()
        if (!supervisor.find(what, null, all)) await supervisor.killRemnants(what, all)
      }
      await places.make(placement)
    })),

    host: (placement) => hostIn(places.of(placement), placement, {port: placement.port, background: false}),

    dataFolder: async (placement) => places.of(placement).data,
    unpack: null,

    reassign: (placement, fromInstance) => inTurn(placement.nodeId, () => atEdge(`move ${placement.instanceName}`, async () => {
      await supervisor.kill(supervised({...placement, instanceId: fromInstance}), null)
      await places.move(placement, fromInstance)
      supervisor.forget(placement.nodeId)
    })),

    start: (placement, command) => inTurn(placement.nodeId, () => atEdge(`start ${placement.instanceName}`, async () => {
      if (!(await isPlaced(placement))) {
        throw new DbaasError('INVALID_STATE', `${placement.instanceName} has no place: its data folder does not exist`, {
          details: {node_id: placement.nodeId}, suggestions: ['dbaas doctor'],
        })
      }
      await places.label(placement)
      const identity = await supervisor.start(supervised(placement), command)
      return {ref: refOf(identity), pid: identity.pid}
    })),

    observe: (placement, ref) => atEdge(`look at ${placement.instanceName}`, async () => {
      const seen = supervisor.observe(supervised(placement), ref)
      if (seen.state === 'running') return {...seen, peerAddress: {host: listenHost, port: placement.port}}
      return (await isPlaced(placement)) ? seen : {state: 'absent'}
    }),

    signal: (placement, ref, signal) => atEdge(`signal ${placement.instanceName}`, async () => supervisor.signal(ref, signal)),

    kill: (placement, ref) => inTurn(placement.nodeId, () =>
      atEdge(`kill the server of ${placement.instanceName}`, () => supervisor.kill(supervised(placement), ref))),

    faults: {
      hang: (placement) => inTurn(placement.nodeId, () => atEdge(`stop ${placement.instanceName} dead`, async () => supervisor.signalAll(supervised(placement), 'SIGSTOP'))),
      whyNotCut: noNetworks,
      async cut() {
        throw new DbaasError('NOT_SUPPORTED', noNetworks, {suggestions: ['--kill', '--hang', 'try it on an instance of the docker runtime']})
      },
      heal: (placement) => inTurn(placement.nodeId, () => atEdge(`let ${placement.instanceName} go on`, async () => supervisor.signalAll(supervised(placement), 'SIGCONT'))),
    },

    watch: (_placement, ref, ended) => supervisor.watch(ref, (exitCode) => ended({exitCode, because: null})),

    // a process has no state of its own that somebody else could change but its end
    onChange: () => () => undefined,

    identify: (ref) => ({pid: parseRef(ref)?.pid ?? null, container: null, pod: null}),

    label: (placement) => inTurn(placement.nodeId, () => atEdge(`label ${placement.instanceName}`, async () => {
      if (await isPlaced(placement)) await places.label(placement)
    })),

    whyNotPublish: async (address) =>
      address === null || address === listenHost ? undefined : 'servers that run as processes of this machine listen on loopback only',

    limit: (placement) => inTurn(placement.nodeId, () => atEdge(`limit ${placement.instanceName}`, async () => {
      if (!(await isPlaced(placement))) return
      try {
        cgroups.apply(placement.nodeId, placement.size)
      } catch (error) {
        if (errnoOf(error) !== 'EBUSY') throw error
        const wanted = formatBytes(placement.size.memory_bytes)
        throw new DbaasError('INVALID_STATE', `the server of ${placement.instanceName} uses more memory than ${wanted} now`, {
          cause: error, suggestions: [`dbaas restart ${placement.instanceName}`],
        })
      }
      await places.label(placement)
    })),

    adopt: (placement, fromSite) => inTurn(placement.nodeId, () => atEdge(`adopt ${placement.instanceName}`, async () => {
      await supervisor.kill(supervised(placement), null)
      await createCgroups(fromSite).remove(placement.nodeId)
      await places.label(placement)
    })),

    usage: (placement) => atEdge(`measure ${placement.instanceName}`, async () =>
      (await isPlaced(placement)) ? usageOf(supervised(placement), cgroups, membership) : undefined),

    remove: (placement) => inTurn(placement.nodeId, () => atEdge(`remove ${placement.instanceName}`, async () => {
      await supervisor.kill(supervised(placement), null)
      await cgroups.remove(placement.nodeId)
      await places.remove(placement)
      supervisor.forget(placement.nodeId)
    })),

    isPortFree,

    list: () => atEdge('list what exists', () => findAll({siteId, places, membership, supervisor, serverProgram})),

    logs: (placement, how) => linesOf(placement, how),

    trimLogs: (placement) => atEdge(`trim the log of ${placement.instanceName}`, async () => trimLog(places.of(placement).logFile)),

    async close() {
      supervisor.close()
      log('process runtime closed')
    },
  }

  async function* linesOf(placement: Placement, how: LogOptions): AsyncGenerator<string> {
    try {
      yield* readLog(places.of(placement).logFile, how, () => isPlaced(placement))
    } catch (error) {
      throw translateSystem(error, `read the log of ${placement.instanceName}`)
    }
  }
}

/** What changes one node happens one after the other; other nodes do not wait. */
function createTurns() {
  const last = new Map<string, Promise<unknown>>()
  return async <T>(nodeId: string, work: () => Promise<T>): Promise<T> => {
    const before = last.get(nodeId) ?? Promise.resolve()
    const turn = before.then(work, work)
    last.set(nodeId, turn)
    try {
      return await turn
    } finally {
      if (last.get(nodeId) === turn) last.delete(nodeId)
    }
  }
}

/** Idle I/O class where the system can give it; the CPU priority needs no program. */
async function backgroundPrefix(): Promise<readonly string[]> {
  if (process.platform !== 'linux') return []
  const prefix = ['ionice', '-c', '3']
  const works = await promisify(execFile)('ionice', ['-c', '3', 'true']).then(() => true, () => false)
  return works ? prefix : []
}
