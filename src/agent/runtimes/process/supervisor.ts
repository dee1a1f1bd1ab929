/**
 * Starts servers so that they outlive the agent, finds them again, sees them end, and kills them whole.
 *
 * A server is started through a gate: a shell that waits for one line before it becomes the server. Before the line is
 * sent, its identity is written into the place and it is put into its cgroup. So there is never a server that is not
 * written down or not limited; and if the agent dies in between, the shell reads the end of the pipe and ends.
 */
import {spawn, type ChildProcess} from 'node:child_process'
import {constants} from 'node:fs'
import {access, open} from 'node:fs/promises'
import {constants as system} from 'node:os'
import {setTimeout as sleep} from 'node:timers/promises'
import {DbaasError} from '../../../core/errors.js'
import type {InstanceSize} from '../../../core/instance/sizes.js'
import type {ServerCommand} from '../../../engines/engine.js'
import type {Observation, Running} from '../runtime.js'
import type {Cgroups} from './cgroups.js'
import {cleanEnvironment} from './environment.js'
import {errnoOf} from './errors.js'
import type {Belonging, Membership} from './membership.js'
import {identify, isAlive, type Identity, type Snapshot} from './processes.js'
import {firstAlive, parseRef, readRecord, refOf, removeRecord, writeRecord} from './record.js'
import type {ServiceUser} from './service-user.js'

export interface Supervised extends Belonging {
  /** Folder of the engine's programs. */
  readonly bin: string
  /** Null where no limit applies (a scratch server). */
  readonly size: InstanceSize | null
}

const gate = 'umask 077; read -r go && exec "$@" </dev/null'
/** Adopted servers, which are not our children, are looked at this often. */
const pollMs = 50
/** A killed process that does not end is stuck in the kernel (a dead disk); waiting longer does not help. */
const killSeconds = 30

export type Supervisor = ReturnType<typeof createSupervisor>

export function createSupervisor(options: {siteId: string; user: ServiceUser; cgroups: Cgroups; membership: Membership}) {
  const {siteId, user, cgroups, membership} = options
  /** By ref: those we started, whose exit the system tells us. */
  const children = new Map<string, ChildProcess>()
  const exits = new Map<string, {ref: string; exitCode: number | null}>()
  const watched = new Map<Identity, (exitCode: number | null) => void>()
  let timer: NodeJS.Timeout | undefined

  /** The live server of the place: by its ref, by what is written in the place, or one that somebody started by hand. */
  function find(what: Belonging, ref: string | null, all?: Snapshot): Identity | undefined {
    const known = firstAlive(parseRef(ref), readRecord(what.place))
    if (known) return known
    const found = membership.handStarted(what, all ?? membership.look())
    return found && identify(found.pid)
  }

  function observe(what: Belonging, ref: string | null): Omit<Running, 'peerAddress'> | (Observation & {state: 'stopped'}) {
    const server = find(what, ref)
    if (server) return {state: 'running', ref: refOf(server), pid: server.pid, impairment: null}
    const last = exits.get(what.place.nodeId)
    return {state: 'stopped', exitCode: last && (ref === null || last.ref === ref) ? last.exitCode : null, because: null}
  }

  async function start(what: Supervised, command: ServerCommand): Promise<Identity> {
    const {place} = what
    const all = membership.look()
    const running = find(what, null, all)
    if (running) return running
    await killRemnants(what, all)
    const [program] = command.argv
    await access(program ?? '', constants.X_OK).catch((error) => {
      throw new DbaasError('ENGINE_NOT_INSTALLED', `the server program ${program} of ${place.nodeId} cannot be run`, {
        cause: error, details: {program: String(program)}, suggestions: ['dbaas engines list'],
      })
    })
    if (what.size) cgroups.apply(place.nodeId, what.size)
    // the folder is the server user's: a link planted there is not followed
    const log = await open(place.logFile, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
    let child: ChildProcess
    try {
      if (user.separate) await log.chown(user.uid, user.gid)
      child = spawn('/bin/sh', ['-c', gate, 'sh', ...command.argv], {
        cwd: place.folder, detached: true, stdio: ['pipe', log.fd, log.fd],
        env: cleanEnvironment({
          home: place.tmp, bin: what.bin, marks: {siteId, nodeId: place.nodeId, role: 'server'}, extra: command.env,
        }),
        ...(user.separate ? {uid: user.uid, gid: user.gid} : {}),
      })
      await spawned(child)
    } finally {
      await log.close()
    }
    return letGo(what, child)
  }

  async function letGo({place, size}: Supervised, child: ChildProcess): Promise<Identity> {
    const pid = child.pid as number
    try {
      const identity = identify(pid)
      if (!identity) throw new DbaasError('RUNTIME_UNAVAILABLE', `the shell that starts ${place.nodeId} ended at once`)
      track(place.nodeId, identity, child)
      writeRecord(place, identity)
      if (size) cgroups.admit(place.nodeId, pid)
      child.stdin?.on('error', () => undefined)
      child.stdin?.end('go\n')
      child.unref()
      return identity
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    }
  }

  function track(nodeId: string, identity: Identity, child: ChildProcess): void {
    const ref = refOf(identity)
    children.set(ref, child)
    child.once('exit', (code, signal) => {
      children.delete(ref)
      const exitCode = code ?? (signal ? 128 + signalNumber(signal) : null)
      exits.set(nodeId, {ref, exitCode})
      for (const key of [...watched.keys()]) if (refOf(key) === ref) ended(key, exitCode)
    })
  }

  function watch(ref: string, callback: (exitCode: number | null) => void): () => void {
    const identity = parseRef(ref)
    // a child that is a zombie: its exit event is on the way, with the exit code
    if (!identity || (!children.has(refOf(identity)) && !isAlive(identity))) {
      const last = [...exits.values()].find((exit) => exit.ref === ref)
      const immediate = setImmediate(callback, last?.exitCode ?? null)
      return () => clearImmediate(immediate)
    }
    watched.set(identity, callback)
    timer ??= setInterval(poll, pollMs).unref()
    return () => {
      watched.delete(identity)
      idle()
    }
  }

  function poll(): void {
    for (const identity of [...watched.keys()]) {
      if (!children.has(refOf(identity)) && !isAlive(identity)) ended(identity, null)
    }
  }

  function ended(identity: Identity, exitCode: number | null): void {
    const callback = watched.get(identity)
    watched.delete(identity)
    idle()
    callback?.(exitCode)
  }

  function idle(): void {
    if (watched.size > 0) return
    clearInterval(timer)
    timer = undefined
  }

  function signal(ref: string, name: NodeJS.Signals): void {
    const identity = parseRef(ref)
    if (identity && isAlive(identity)) send(identity.pid, name)
  }

  /** Sends it to everything of the server: to its main process first, and until a look finds nobody who has not got it. */
  function signalAll(what: Belonging, name: 'SIGSTOP' | 'SIGCONT'): void {
    const reached = new Set<number>()
    const reach = (pid: number): void => {
      send(pid, name)
      reached.add(pid)
    }
    const main = find(what, null)
    if (main) reach(main.pid)
    for (let isNew = true; isNew; ) {
      const fresh = membership.membersOf(what, membership.look()).filter(({pid}) => !reached.has(pid))
      for (const {pid} of fresh) reach(pid)
      isNew = fresh.length > 0
    }
  }

  /**
   * Kills the whole server, and whatever else runs in the place; returns when all of it is proven gone. Throws
   * RUNTIME_UNAVAILABLE, naming a process, when one does not end: the place must then be taken for alive.
   */
  async function kill(what: Belonging, ref: string | null): Promise<void> {
    const first = membership.look()
    const main = firstAlive(parseRef(ref), readRecord(what.place))
    await killAll(what, (all) => membership.membersOf(what, all).map((info) => info.pid), first, main)
    removeRecord(what.place)
  }

  /** What a server that is gone left behind: backends of a killed postmaster, tools of a dead agent. */
  async function killRemnants(what: Belonging, all: Snapshot): Promise<void> {
    await killAll(what, (now) => {
      const own = membership.ownTools(now)
      return membership.membersOf(what, now).map((info) => info.pid).filter((pid) => !own.has(pid))
    }, all)
  }

  async function killAll(what: Belonging, whom: (all: Snapshot) => number[], first: Snapshot, main?: Identity): Promise<void> {
    const known = new Map<number, Identity>()
    const deadline = Date.now() + killSeconds * 1000
    const learn = (pids: Iterable<number>) => {
      for (const pid of pids) {
        const identity = known.has(pid) ? undefined : identify(pid)
        if (identity) known.set(pid, identity)
      }
    }
    if (main) {
      known.set(main.pid, main)
      learn(membership.membersOf(what, first, [main.pid]).map((info) => info.pid))
    }
    learn(whom(first))
    for (let round = 0; ; round++) {
      const alive = [...known.values()].filter(isAlive)
      // the parent first (it was found first), so that it makes no more children
      for (const {pid} of alive) send(pid, 'SIGKILL')
      if (alive.length > 0) await sleep(Math.min(2 + 2 * round, 50))
      // a child born between the look and the kill: looked for until a look finds nobody
      const left = known.size === 0 && round === 0 ? [] : whom(membership.look())
      learn(left)
      if (left.length === 0 && ![...known.values()].some(isAlive)) return
      if (Date.now() > deadline) {
        const stuck = left[0] ?? [...known.values()].find(isAlive)?.pid
        throw new DbaasError('RUNTIME_UNAVAILABLE', `process ${stuck} of ${what.place.nodeId} was killed and does not end`, {
          details: {node_id: what.place.nodeId, pid: String(stuck)}, suggestions: ['dbaas doctor', `ps -o pid,stat,wchan -p ${stuck}`],
        })
      }
    }
  }

  /** Of a node that is removed. */
  const forget = (nodeId: string): void => void exits.delete(nodeId)

  function close(): void {
    clearInterval(timer)
    timer = undefined
    watched.clear()
  }

  return {find, observe, start, watch, signal, signalAll, kill, killRemnants, forget, close}
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    // it ended by itself
    if (errnoOf(error) !== 'ESRCH') throw error
  }
}

const spawned = (child: ChildProcess): Promise<void> =>
  new Promise((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', reject)
  })

const signalNumber = (signal: NodeJS.Signals): number => system.signals[signal]
