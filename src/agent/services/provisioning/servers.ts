/** What several workflows do to one node's server: its settings, its start until it answers, its stop. */
import {setTimeout as pause} from 'node:timers/promises'
import {DbaasError} from '../../../core/errors.js'
import {effectiveParameters, type InstanceFacts, type InstanceRecord, type NodeRecord} from '../../../core/instance/instance.js'
import type {AdminCredentials, ClientCredentials, ServerSettings, TlsFiles} from '../../../engines/engine.js'
import type {InstalledVersion, Observation, Placement} from '../../runtimes/runtime.js'
import type {StepContext} from '../../../core/workflow/workflow.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import {asNodeHasIt} from '../node-changes.js'
import {routeTo, type Subject} from '../subject.js'
import {freeEndpointPort, freeNodePort} from './ports.js'

export const adminName = 'dbaas_admin'
const readySeconds = 120
/** Lines of the server's log that explain a failed start. */
const explainLines = 60

export type Servers = ReturnType<typeof createServers>

export function createServers(context: ServiceContext) {
  const {store, certificates} = context

  function subjectOf(instance: InstanceRecord, node: NodeRecord): Subject {
    const runtime = context.runtimes.get(instance.runtime)
    const placement: Placement = {
      nodeId: node.id, nodeName: node.name, instanceId: instance.id, instanceName: instance.name, tenantId: instance.tenantId,
      engine: instance.engine, version: instance.version, image: instance.image, port: node.port, publishAddress: instance.publishAddress,
      size: instance.size, facts: factsOf(instance),
    }
    return {instance, node, engine: context.engines.get(instance.engine), runtime, placement, host: runtime.host(placement)}
  }

  /** The instance's primary, as the store has it now. Throws INSTANCE_NOT_FOUND. */
  async function load(instanceId: string): Promise<Subject> {
    const found = await store.read('platform', async (tx) => {
      const instance = await tx.instances.find(instanceId)
      const node = instance && (await tx.nodes.ofInstance(instance.id)).find((n) => n.role === 'primary')
      return {instance: instance && node && (await asNodeHasIt(tx, instance, node)), node}
    })
    if (!found.instance || !found.node) throw new DbaasError('INSTANCE_NOT_FOUND', `there is no instance ${instanceId}`)
    return subjectOf(found.instance, found.node)
  }

  /** All nodes of the instance, the primary first. */
  async function all(instanceId: string): Promise<Subject[]> {
    const found = await store.read('platform', async (tx) => {
      const instance = await tx.instances.find(instanceId)
      const nodes = [...(await tx.nodes.ofInstance(instanceId))].sort((a, b) => Number(b.role === 'primary') - Number(a.role === 'primary'))
      return instance && Promise.all(nodes.map(async (node) => ({node, instance: await asNodeHasIt(tx, instance, node)})))
    })
    if (!found) throw new DbaasError('INSTANCE_NOT_FOUND', `there is no instance ${instanceId}`)
    return found.map(({instance, node}) => subjectOf(instance, node))
  }

  const admin = (): Promise<AdminCredentials> => certificates.admin(adminName)

  /** The node's certificate: kept sealed, issued when there is none or it is about to expire. */
  async function tlsOf({instance, node}: Subject): Promise<TlsFiles> {
    const kept = await store.read('platform', async (tx) => ({
      certificate: await tx.secrets.get(node.id, 'tls.certificate'), key: await tx.secrets.get(node.id, 'tls.key'),
    }))
    if (kept.certificate && kept.key && certificates.isFresh(kept.certificate)) {
      return {certificate: kept.certificate, key: kept.key, clientCa: certificates.caCertificate}
    }
    const pair = await certificates.issueServer({
      commonName: instance.name,
      dns: ['localhost', instance.name, `${instance.name}.${instance.tenantId}.dbaas.internal`, `${node.name}.${instance.name}.${instance.tenantId}.dbaas.internal`],
      ip: ['127.0.0.1', '::1'],
    })
    await store.transact('platform', async (tx) => {
      await tx.secrets.put(instance.tenantId, node.id, 'tls.certificate', pair.certificate)
      await tx.secrets.put(instance.tenantId, node.id, 'tls.key', pair.key)
    })
    return {...pair, clientCa: certificates.caCertificate}
  }

  async function settingsOf(subject: Subject, values = effectiveParameters(subject.instance.layers)): Promise<ServerSettings> {
    return {version: subject.instance.version, instanceName: subject.instance.name, values, tls: await tlsOf(subject)}
  }

  /**
   * Makes the place whole around data that is there, and writes the files of a server that does not run. Throws
   * DATA_GONE where there is no data: an empty directory must never be started in its stead.
   */
  async function prepare(subject: Subject): Promise<void> {
    const {instance, runtime, placement, engine, host} = subject
    const before = await observe(subject)
    if (before.state !== 'absent') await runtime.place(placement)
    if (before.state === 'running') return
    if (before.state === 'absent' || !(await engine.lifecycle.isInitialised(host))) {
      throw new DbaasError('DATA_GONE', `the data of ${instance.name} is gone: somebody removed it`, {
        details: {instance: instance.name}, suggestions: [`put the data back, then: dbaas start ${instance.name}`, `dbaas delete ${instance.name}`],
      })
    }
    await engine.config.write(host, await settingsOf(subject))
  }

  /** The programs of the instance, fetched where the runtime does so by itself. Throws ENGINE_NOT_INSTALLED. */
  async function softwareOf({instance, runtime: {software}}: Subject, progress: (because: string) => void, signal: AbortSignal): Promise<InstalledVersion> {
    const {engine, version, imageAsked} = instance
    const found = (await software.locate(engine, version, imageAsked)) ?? (software.onDemand
      ? await software.install(engine, {version, known: null, from: imageAsked, checksum: null}, progress, signal)
      : undefined)
    if (found) return found
    throw new DbaasError('ENGINE_NOT_INSTALLED', `${engine} ${version} is not installed`, {suggestions: [`dbaas engines install ${engine}@${version}`]})
  }

  const observe = (subject: Subject): Promise<Observation> => subject.runtime.observe(subject.placement, subject.node.runtimeRef)

  async function logTail({runtime, placement}: Subject): Promise<string> {
    const lines: string[] = []
    for await (const line of runtime.logs(placement, {lines: explainLines, follow: false, signal: new AbortController().signal})) lines.push(line)
    return lines.join('\n')
  }

  /** Starts the server if it does not run. The ref finds it again. */
  async function launch(subject: Subject): Promise<{ref: string; pid: number | null}> {
    const {runtime, placement, engine, host} = subject
    const now = await observe(subject)
    if (now.state === 'running') return {ref: now.ref, pid: now.pid}
    await runtime.kill(placement, subject.node.runtimeRef)
    await engine.lifecycle.clearStale(host)
    return runtime.start(placement, engine.lifecycle.command(host, subject.instance.version))
  }

  /**
   * Waits until the server answers. Throws what the server's log says when it ended instead, DATABASE_UNAVAILABLE when
   * it lives but does not answer in time, and the signal's reason when that is aborted.
   */
  async function awaitReady(subject: Subject, signal: AbortSignal, progress: (because: string) => void): Promise<void> {
    const {engine, host, runtime, placement, node} = subject
    const credentials = await admin()
    const until = context.clock.now() + readySeconds * 1000
    let because = 'the server is starting'
    // its end is watched, because a stranger on its port may accept a connection and say nothing
    let unwatch = (): void => undefined
    const ended = new Promise<'ended'>((resolve) => {
      if (node.runtimeRef !== null) unwatch = runtime.watch(placement, node.runtimeRef, () => resolve('ended'))
    })
    try {
      for (let attempt = 0; context.clock.now() < until; attempt++) {
        signal.throwIfAborted()
        const not = await Promise.race([engine.lifecycle.whyNotReady(host, credentials), ended])
        if (not === undefined) return
        if (not === 'ended' || attempt % 100 === 99) {
          if ((await observe(subject)).state !== 'running') throw engine.lifecycle.explainFailure(await logTail(subject))
        }
        if (not !== because) progress((because = not))
        await pause(attempt < 100 ? 10 : 100)
      }
    } finally {
      unwatch()
    }
    throw new DbaasError('DATABASE_UNAVAILABLE', `${subject.instance.name} does not answer: ${because}`, {
      details: {instance: subject.instance.name}, suggestions: [`dbaas logs ${subject.instance.name}`],
    })
  }

  /**
   * `awaitReady`, but when somebody took the server's port between our look and its bind, the node gets another port
   * (stored with the step's outcome) and the answer is false: configure and start again.
   */
  async function readyOrMoved(subject: Subject, signal: AbortSignal, progress: (because: string) => void, commit: (change: (tx: Tx) => Promise<void>) => void): Promise<boolean> {
    try {
      await awaitReady(subject, signal, progress)
      return true
    } catch (error) {
      if (!(error instanceof DbaasError) || error.code !== 'PORT_IN_USE') throw error
      const port = await freeNodePort(context, subject.runtime)
      progress(`port ${subject.node.port} was taken, so the server gets ${port}`)
      commit(async (tx) => {
        await tx.ports.release(subject.node.id)
        await tx.ports.reserve({tenantId: subject.instance.tenantId, port, ownerId: subject.node.id})
        await tx.nodes.update(subject.node.id, {port, runtimeRef: null})
      })
      return false
    }
  }

  /** Asks gently, then firmly, then kills; returns when everything of the server is proven gone. */
  async function halt(subject: Subject, progress: (because: string) => void): Promise<void> {
    const {engine, runtime, placement} = subject
    for (const {signal, seconds, because} of engine.lifecycle.stopSignals) {
      const now = await observe(subject)
      if (now.state !== 'running') break
      progress(because)
      await runtime.signal(placement, now.ref, signal)
      await gone(subject, now.ref, seconds)
    }
    await runtime.kill(placement, subject.node.runtimeRef)
    // what it wrote last was sent while it ended
    await context.protection.drained(subject.instance.id)
  }

  /** The server of an instance of one, between the holding of its clients and its next start. */
  async function haltPrimary(instanceId: string, {progress, commit}: Pick<StepContext<unknown, Tx>, 'progress' | 'commit'>): Promise<void> {
    const subject = await load(instanceId)
    await halt(subject, progress)
    commit((tx) => tx.nodes.update(subject.node.id, {runtimeRef: null, status: 'stopped', updatedAt: context.clock.now()}))
  }

  /** All of its servers, the primary first: its replicas receive the last of its log. Returns them. */
  async function haltAll(instanceId: string, progress: (because: string) => void): Promise<Subject[]> {
    const subjects = await all(instanceId)
    for (const subject of subjects) await halt(subject, progress)
    return subjects
  }

  async function gone({runtime, placement}: Subject, ref: string, seconds: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(end, seconds * 1000)
      const unwatch = runtime.watch(placement, ref, end)
      function end(): void {
        clearTimeout(timer)
        unwatch()
        resolve()
      }
    })
  }

  /**
   * Starts the server unless it runs, waits until it answers, and lets clients in: the end of every restart, and of every
   * undo of one. The node's new ref is stored with the outcome of the step.
   */
  async function serve(subject: Subject, step: Pick<StepContext<unknown, Tx>, 'signal' | 'progress' | 'commit'>): Promise<void> {
    const {ref} = await launch(subject)
    step.commit((tx) => tx.nodes.update(subject.node.id, {runtimeRef: ref, status: 'running', statusReason: null, updatedAt: context.clock.now()}))
    await awaitReady({...subject, node: {...subject.node, runtimeRef: ref}}, step.signal, step.progress)
    await route(subject, 'open')
  }

  async function clientOf(instance: InstanceRecord, at?: {host: string; port: number}): Promise<ClientCredentials> {
    const password = await store.read('platform', (tx) => tx.secrets.get(instance.id, 'password'))
    if (password === undefined) throw new DbaasError('INVALID_STATE', `${instance.name} has no credentials: it is being made or deleted`)
    return {
      host: at?.host ?? instance.endpointHost, port: at?.port ?? instance.endpointPort, database: instance.database,
      username: instance.username, password, ca: certificates.caCertificate, serverName: instance.name,
    }
  }

  /** Points the endpoint at the server. `hold` lets new connections wait. */
  async function route(subject: Subject, mode: 'open' | 'hold' | 'closed'): Promise<void> {
    await context.endpoints.put(routeTo(subject, mode))
  }

  /**
   * Opens the endpoint of a new instance. When somebody took its port, it gets another one (stored with the step's outcome),
   * and the answer is false: again. Throws PORT_IN_USE where the port was asked for.
   */
  async function publishedOrMoved(subject: Subject, portIsFixed: boolean, commit: (change: (tx: Tx) => Promise<void>) => void): Promise<boolean> {
    try {
      await route(subject, 'open')
      return true
    } catch (error) {
      if (portIsFixed || !(error instanceof DbaasError) || error.code !== 'PORT_IN_USE') throw error
      const port = await freeEndpointPort(context, subject.runtime)
      commit(async (tx) => {
        await tx.ports.release(subject.instance.id)
        await tx.ports.reserve({tenantId: subject.instance.tenantId, port, ownerId: subject.instance.id})
        await tx.instances.update(subject.instance.id, {endpointPort: port})
      })
      return false
    }
  }

  return {publishedOrMoved, softwareOf, subjectOf, load, all, admin, settingsOf, observe, prepare, launch, awaitReady, readyOrMoved, serve, halt, haltPrimary, haltAll, clientOf, route, logTail}
}

/** What the place says of its instance, for a store that has to be rebuilt. */
export const factsOf = (instance: InstanceRecord): InstanceFacts => ({
  template: instance.template, layers: instance.layers, endpointPort: instance.endpointPort, database: instance.database,
  username: instance.username, incarnation: instance.incarnation, protected: instance.protected, expiresAt: instance.expiresAt,
  createdAt: instance.createdAt,
})
