/** The composition root: everything concrete meets here, wired by hand. Nothing else in the agent knows it all. */
import {randomBytes} from 'node:crypto'
import {readFileSync, statSync} from 'node:fs'
import {access, open} from 'node:fs/promises'
import {availableParallelism} from 'node:os'
import {join} from 'node:path'
import {agentPrincipal, defaultTenant, platformAdministrator, type Principal} from '../core/access/principal.js'
import {DbaasError} from '../core/errors.js'
import {makeId, type IdKind} from '../core/ids.js'
import {nearest} from '../core/nearest.js'
import type {Clock} from '../core/time.js'
import type {Engine} from '../engines/engine.js'
import {engines as builtInEngines, findEngine} from '../engines/index.js'
import type {KeySource} from './archiver/archiver.js'
import {createArchiver} from './archiver/control.js'
import {masterKeyOf} from './archiver/key-source.js'
import {openAuthority} from './certificates/authority.js'
import {prepareHome} from './client/home.js'
import {agentSocketPath, leaveSocketFolder} from './client/socket-path.js'
import type {AgentConfig} from './config.js'
import {createEndpoints} from './endpoints/control.js'
import type {ResponseCheck} from './http/register.js'
import {createHttpServer} from './http/server.js'
import {guarded, type Breaker} from './runtimes/guarded.js'
import {runtimes} from './runtimes/index.js'
import {defaultRuntime, runtimeNames} from './runtimes/names.js'
import {resolveDataRoot} from './runtimes/process/locations.js'
import type {Runtime} from './runtimes/runtime.js'
import type {ServiceContext} from './services/context.js'
import {createChanges} from './services/ha/changes.js'
import {createDrill} from './services/ha/drill.js'
import {createFailoverDrill} from './services/ha/drill.workflow.js'
import {createMaking} from './services/ha/members.js'
import {replicasKind, replicasWorkflow} from './services/ha/replicas.workflow.js'
import {changeKinds} from './services/ha/record.js'
import {createHighAvailability} from './services/ha/service.js'
import {createOperationsService} from './services/operations/service.js'
import {createRecorder} from './services/platform/audit-drain.js'
import {createPlatformService} from './services/platform/service.js'
import {createAdoption} from './services/provisioning/adopt.js'
import {adoptWorkflow} from './services/provisioning/adopt.workflow.js'
import {createCatalogues} from './services/provisioning/catalogues.js'
import {createCopies, type Copies} from './services/provisioning/copies.js'
import {createConfigurationService} from './services/provisioning/configuration.js'
import {createWorkflow} from './services/provisioning/create.workflow.js'
import {deleteWorkflow} from './services/provisioning/delete.workflow.js'
import {createLeases} from './services/provisioning/leases.js'
import {lifecycleWorkflows, recoverKind} from './services/provisioning/lifecycle.workflows.js'
import {createPrepared} from './services/provisioning/prepared.js'
import {freeEndpointPort, freeNodePort} from './services/provisioning/ports.js'
import {reconfigureWorkflow} from './services/provisioning/reconfigure.workflow.js'
import {restoreWorkflow} from './services/provisioning/restore.workflow.js'
import {createRestoring} from './services/provisioning/restoring.js'
import {scaleWorkflow} from './services/provisioning/scale.workflow.js'
import {majorUpgradeWorkflow} from './services/provisioning/upgrade-major.workflow.js'
import {upgradeWorkflow} from './services/provisioning/upgrade.workflow.js'
import {createUpgrading} from './services/provisioning/upgrading.js'
import {createScaling} from './services/provisioning/scaling.js'
import {createServers} from './services/provisioning/servers.js'
import {createInstancesService, runtimesUsed} from './services/provisioning/service.js'
import {createSupervisor} from './services/provisioning/supervise.loop.js'
import {createTemplates} from './services/provisioning/templates.js'
import {createUpkeep} from './services/provisioning/upkeep.loops.js'
import {assembleBackups} from './services/backup/assemble.js'
import {createKeyRing} from './services/backup/keys.js'
import {createSoftwareService} from './services/software/service.js'
import {softwareWorkflows} from './services/software/workflows.js'
import {catalogueFiles} from './store/catalogue-files.js'
import {createVault, loadMasterKey} from './store/secrets.js'
import {openSqliteAuditLog} from './store/sqlite/audit-log.js'
import {takeLock} from './store/sqlite/lock.js'
import {openSqliteStore} from './store/sqlite/store.js'
import {createWorkflowEngine, type AnyWorkflow, type ProbePoint} from './workflow/engine.js'

export interface AppOptions extends AgentConfig {
  /** The installed package: `bin/agent.js`, `dist/endpoint/endpoint.js` and `node_modules` are found from it. */
  readonly packageRoot: string
  readonly version: string
  readonly log: (message: string, facts?: Record<string, unknown>) => void
  /** For tests: stop the world at a step, use another clock or other engines. */
  readonly probe?: (point: ProbePoint) => Promise<void>
  readonly clock?: Clock
  readonly engines?: Readonly<Record<string, Engine>>
  /** Sees every answer before it is sent; throws when it is not what its schema says. */
  readonly checkResponse?: ResponseCheck
}

export interface App {
  readonly socket: string
  /** Ends the agent; databases and the endpoint process go on. */
  stop(): Promise<void>
  /** Settles when the agent has ended, whoever asked for it. */
  readonly ended: Promise<void>
}

const logLimitBytes = 16 * 1024 ** 2
/** When the agent ends, what is under way in repositories has so long until it is asked to end, too. */
const repositoryPatienceMs = 5000

/** Undefined when another agent has the home: the loser of the lock has nothing to do. Throws DbaasError. */
export async function startApp(options: AppOptions): Promise<App | undefined> {
  const {home, log} = options
  const clock: Clock = options.clock ?? {now: () => Date.now()}
  const newId = (kind: IdKind): string => makeId(kind, Date.now(), randomBytes(16))
  const engineTable: Readonly<Record<string, Engine>> = options.engines ?? builtInEngines

  prepareHome(home)
  const lock = takeLock(join(home, 'agent.lock'))
  if (!lock) return undefined
  const closers: (() => Promise<void> | void)[] = [() => lock.release()]
  const closeAll = async (): Promise<void> => {
    for (const close of closers.reverse()) {
      try {
        await close()
      } catch (error) {
        log('closing failed', {error: String(error)})
      }
    }
  }

  try {
    const dataRoot = await resolveDataRoot(home)
    const store = openSqliteStore(join(home, 'metadata.db'), (hasSecrets) => createVault(loadMasterKey(join(home, 'keys', 'master.key'), hasSecrets)))
    closers.push(() => store.close())
    const auditLog = openSqliteAuditLog(join(home, 'audit.db'))
    closers.push(() => auditLog.close())
    const recorder = createRecorder({store, auditLog, clock, log})
    closers.push(() => recorder.close())

    const siteId = await store.transact('platform', async (tx) => {
      const kept = await tx.settings.get('site.id')
      if (kept) return kept
      const made = newId('site')
      await tx.settings.put('site.id', made)
      return made
    })

    const endpoints = createEndpoints({
      stateDir: join(home, 'endpoint'), bundlePath: join(options.packageRoot, 'dist', 'endpoint', 'endpoint.js'), siteId,
      agentCommand: [process.execPath, join(options.packageRoot, 'bin', 'agent.js')],
      env: {...options.env, DBAAS_HOME: home},
      log: {info: (facts, message) => log(message, {...facts}), warn: (facts, message) => log(message, {...facts})},
      onRestart: () => void supervisor.restoreRoutes().catch((error: unknown) => log('restoring routes failed', {error: String(error)})),
    })
    // the endpoint process, the first certificates and the programs take time of their own: all at once
    const endpointReady = endpoints.ensure()
    endpointReady.catch(() => undefined)
    const authority = openAuthority({store, clock, site: siteId, caFile: join(home, 'ca.pem')})
    authority.catch(() => undefined)
    const runtimeTable: Record<string, Runtime> = {}
    const breakers: Breaker[] = []
    for (const name of runtimeNames) {
      const made = await runtimes[name]({
        dataRoot, siteId, packagesFolder: options.packageRoot, log, env: options.env,
        // a view, not a copy: an engine added to the table is there for the runtime as well
        engines: new Proxy<Record<string, Engine>>({}, {get: (_, engine) => engineTable[String(engine)]}),
      })
      closers.push(() => made.close())
      // the default runtime is this machine itself: there is nothing between us that could be away
      const {runtime, breaker} = name === defaultRuntime ? {runtime: made, breaker: undefined} : guarded(made)
      if (breaker) breakers.push(breaker)
      runtimeTable[name] = runtime
    }

    const context: ServiceContext = {
      store, clock, newId, log, endpointPorts: {from: options.firstPort ?? 15_432, to: (options.firstPort ?? 15_432) + 999},
      randomSecret: () => randomBytes(24).toString('base64url'),
      engines: {get names() { return Object.keys(engineTable) }, get: (name) => findEngine(name, engineTable)},
      runtimes: {
        names: runtimeNames, default: defaultRuntime,
        get(name) {
          const found = Object.hasOwn(runtimeTable, name) ? runtimeTable[name] : undefined
          if (found) return found
          const near = nearest(name, Object.keys(runtimeTable))
          throw new DbaasError('UNKNOWN_RUNTIME', `there is no runtime "${name}"`, {
            details: {runtime: name, runtimes: Object.keys(runtimeTable).join(', ')}, suggestions: [`--runtime ${near ?? defaultRuntime}`],
          })
        },
      },
      endpoints,
      // what both need of each other is there when it is asked for
      get protection() { return backups.protection },
      get clusters() { return clusters },
      certificates: await authority,
      mayChange: () => recorder.mayChange(),
      poke: () => {
        workflowEngine.poke()
        recorder.poke()
      },
      principalOfAgent: () => agentPrincipal(newId('request')),
    }

    const servers = createServers(context)
    const making = createMaking(context, servers)
    const clusters = createHighAvailability({
      context, servers, making, changed: (operation) => operations.changed(operation), freePort: (runtime) => freeEndpointPort(context, runtime),
      probe: options.probe,
    })
    const catalogues = createCatalogues(context, catalogueFiles(join(home, 'catalogues'), options.version))
    const platform = `${process.platform}-${process.arch}`
    const started = (instanceId: string): void => {
      supervisor.started(instanceId)
      backups.protection.started(instanceId)
    }
    const keySource = keySourceOf(home, options.env)
    const ending = new AbortController()
    const masterKey = masterKeyOf(keySource, options.env, ending.signal)
    const archiver = createArchiver({
      key: keySource, owner: siteId, cache: join(home, 'cache', 'repositories'), threads: Math.max(1, Math.min(4, availableParallelism())), environment: options.env,
    })
    closers.push(() => archiver.close())
    const histories = await store.read('platform', (tx) => tx.histories.list())
    // a new key could only hide that the old one is lost; without it databases run on, and are not protected
    if (keySource.kind === 'file' && histories.length === 0) loadMasterKey(keySource.path, false)
    const backups = assembleBackups({
      context, archiver, load: servers.load, admin: servers.admin, localPath: join(dataRoot, 'repository'), keys: createKeyRing(keySource, () => masterKey.load()),
      find: (principal, ref) => instances.find(principal, ref),
      view: (instance) => instances.withNodes(instance), workflow: (kind) => workflow(kind),
      async cancel(id) {
        const operation = await store.read('platform', (tx) => tx.operations.get(id))
        if (operation) await workflowEngine.cancel(operation).catch((error: unknown) => log('a backup could not be cancelled', {operation: id, error: String(error)}))
      },
    })
    const workflows = [
      createWorkflow(context, servers, started, catalogues), deleteWorkflow(context, servers, started), ...lifecycleWorkflows(context, servers, started),
      reconfigureWorkflow(context, servers, started), scaleWorkflow(context, servers, started), restoreWorkflow(context, servers, started), upgradeWorkflow(context, servers, started), majorUpgradeWorkflow(context, servers, started, catalogues), adoptWorkflow(context, servers, started), replicasWorkflow(context, servers, making, clusters, started), ...softwareWorkflows(context, platform), ...backups.workflows,
      createFailoverDrill({context, servers, clusters, get copies() { return copies }}),
    ] as unknown as AnyWorkflow[]
    const workflowEngine = createWorkflowEngine({
      store, clock, owner: `${process.pid}:${clock.now()}`, workflows, foreign: changeKinds, parallelism: Math.max(4, 2 * availableParallelism()), random: Math.random, log,
      changed: (operation) => operations.changed(operation),
      ...(options.probe ? {probe: options.probe} : {}),
    })
    const workflow = (kind: string) => workflowEngine.workflow(kind)
    const operations = createOperationsService(context, (operation) => workflowEngine.cancel(operation))
    const templates = createTemplates(context, catalogues, platform)
    const leases = createLeases(context)
    const instances = createInstancesService({context, servers, catalogues, templates, leases, platform, workflow})
    const configuration = createConfigurationService({context, servers, catalogues, templates, instances, platform, workflow})
    const scaling = createScaling({context, servers, catalogues, instances, workflow})
    const restoring = createRestoring({context, instances, templates, catalogues, platform, workflow})
    const copies: Copies = createCopies({
      context, servers, restoring, scale: (...asked) => highAvailability.scale(...asked), scaleKind: replicasKind, cancel: (operation) => workflowEngine.cancel(operation),
    })
    const highAvailability = createChanges({
      drill: createDrill({context, clusters, copies, instances, workflow}),
      context, clusters, instances, flow: workflow(replicasKind),
      freePort: (runtime, taken) => freeNodePort(context, runtime, taken),
    })
    const upgrading = createUpgrading({context, servers, catalogues, instances, platform, workflow})
    const software = createSoftwareService({context, platform, workflow})
    const supervisor = createSupervisor(context, servers, workflow(recoverKind).deadlineSeconds)
    closers.push(() => supervisor.stop())
    const adoption = createAdoption({context, instances, strangers: () => supervisor.strangers(), workflow})

    const prepared = createPrepared(context, platform)
    let lastRequestAt = 0
    const upkeep = createUpkeep({
      context, instances, operations, leases, servers, catalogues, prepared, poolSize: options.poolSize,
      busy: () => workflowEngine.running(), lastRequestAt: () => lastRequestAt,
    })
    const logFile = join(home, 'logs', 'agent.log')
    const socket = agentSocketPath(home)
    closers.push(() => leaveSocketFolder(socket))
    const startedAt = clock.now()
    let stopping: Promise<void> | undefined
    let end!: () => void
    const ended = new Promise<void>((resolve) => (end = resolve))

    const stop = (): Promise<void> => {
      stopping ??= (async () => {
        const inTime = createStages(log)
        ending.abort()
        archiver.endPrograms()
        await inTime('requests', http.close())
        // whatever waits for a repository that does not answer (a share that hangs) holds the end up no longer than this
        const impatient = setTimeout(() => void archiver.close().catch((error: unknown) => log('closing the archiver failed', {error: String(error)})), repositoryPatienceMs)
        impatient.unref()
        supervisor.stop()
        await inTime('clusters', clusters.stop())
        await inTime('upkeep', upkeep.stop())
        await inTime('operations', workflowEngine.stop())
        await inTime('backups', backups.stop())
        clearTimeout(impatient)
        await inTime('the endpoint process', leaveEndpoint())
        await inTime('what is open', closeAll())
        end()
      })()
      return stopping
    }

    /** With nothing to serve the endpoint process has no reason to stay. */
    async function leaveEndpoint(): Promise<void> {
      const serving = (await store.read('platform', (tx) => tx.instances.list())).some((i) => i.wanted === 'running')
      await (serving ? endpoints.detach() : endpoints.stop()).catch((error: unknown) => log('leaving the endpoint process failed', {error: String(error)}))
    }

    const platformService = createPlatformService({
      context, auditLog, drainAudit: recorder.drain, flushRequests: recorder.flushRequests,
      agent: {version: options.version, socket, site: options.siteName, region: options.region, startedAt, home, dataRoot},
      strangers: () => supervisor.strangers(), auditProblem: recorder.problem, readLog: (lines) => lastLines(logFile, lines),
      programs: requiredPrograms, breakers: () => breakers.map((b) => ({
        name: b.name, max_failures: b.maxFailures, reset_timeout: b.resetSeconds, failure_threshold: b.failureThreshold, state: b.state(),
      })), stop: () => void setImmediate(() => void stop()),
    })

    /** What an agent that died left half-made. A runtime that no instance ever ran on need not even be there. */
    async function tidyRuntimes(): Promise<void> {
      const used = new Set((await store.read('platform', (tx) => tx.settings.get(runtimesUsed)))?.split(',') ?? [])
      const tidy = async (name: string): Promise<void> => context.runtimes.get(name).tidy(await prepared.keys(name))
      await tidy(defaultRuntime)
      for (const name of runtimeNames.filter((each) => each !== defaultRuntime && used.has(each))) {
        void tidy(name).catch((error: unknown) => log('tidying failed', {runtime: name, error: String(error)}))
      }
    }

    const uid = process.getuid?.() ?? 0
    const http = await createHttpServer({
      services: {instances, backups: backups.service, scaling, highAvailability, restoring, upgrading, adoption, configuration, engines: software, operations, platform: platformService},
      clock, version: options.version, newRequestId: () => newId('request'), log,
      ...(options.checkResponse ? {checkResponse: options.checkResponse} : {}),
      // only the owner of the home can open the socket, so whoever speaks is the owner
      principalFor(requestId: string, caller): Principal {
        if (caller.tenant !== undefined && caller.tenant !== defaultTenant) {
          throw new DbaasError('TENANT_NOT_FOUND', `there is no tenant "${caller.tenant}"`, {
            details: {tenant: caller.tenant}, suggestions: [`--tenant ${defaultTenant}`],
          })
        }
        return {id: `local:${uid}`, tenantId: defaultTenant, roles: [platformAdministrator], source: 'socket', requestId}
      },
      sink: {
        request(record) {
          lastRequestAt = clock.now()
          recorder.request(record, {
            id: newId('audit'), at: record.at, tenantId: record.tenantId, actor: record.clientId, source: 'socket',
            action: `api.${record.method.toLowerCase()}`, resource: record.path, requestId: record.requestId,
            result: record.statusCode < 400 ? 'succeeded' : record.statusCode === 401 || record.statusCode === 403 ? 'denied' : 'failed',
            details: {status: String(record.statusCode)},
          })
        },
        denied(principal, action, resource, because) {
          void store.transact('platform', (tx) => tx.audit({
            id: newId('audit'), at: clock.now(), tenantId: principal.tenantId, actor: principal.id, source: principal.source, action,
            resource, result: 'denied', requestId: principal.requestId, details: {because},
          })).then(recorder.poke, (error: unknown) => log('a denial could not be audited', {error: String(error)}))
        },
      },
    })

    await endpointReady
    await tidyRuntimes()
    await clusters.load()
    await supervisor.reconcile()
    await clusters.start()
    await workflowEngine.start()
    await http.listenUnix(socket)
    upkeep.start()
    backups.start()
    const logTrim = setInterval(() => trimAgentLog(logFile), 60_000)
    logTrim.unref()
    closers.push(() => clearInterval(logTrim))
    recorder.poke()
    log('the agent is ready', {home, dataRoot, socket, site: siteId})
    return {socket, stop, ended}
  } catch (error) {
    await closeAll()
    throw error
  }
}

/**
 * An end in order, as far as it comes: what hangs (a disk, a container engine, a program) must not keep the agent alive. A
 * SIGKILL loses nothing, so what is left undone is no worse.
 */
function createStages(log: AppOptions['log']): (name: string, work: Promise<void>) => Promise<void> {
  const deadline = performance.now() + 15_000
  return async (name, work) => {
    const limitMs = Math.max(1000, deadline - performance.now())
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<'late'>((resolve) => (timer = setTimeout(() => resolve('late'), limitMs)))
    const ended = work.catch((error: unknown) => log('ending failed', {of: name, error: String(error)}))
    if ((await Promise.race([ended, late])) === 'late') log('the agent ends without waiting any longer', {for: name})
    clearTimeout(timer)
  }
}

/** The master key of backups: from the environment or a program, where somebody said so, else a file of the home. */
function keySourceOf(home: string, env: AgentConfig['env']): KeySource {
  if (env.DBAAS_BACKUP_KEY) return {kind: 'environment', variable: 'DBAAS_BACKUP_KEY'}
  const [program, ...rest] = (env.DBAAS_BACKUP_KEY_COMMAND ?? '').split(' ').filter((word) => word !== '')
  return program === undefined ? {kind: 'file', path: join(home, 'keys', 'backup.key')} : {kind: 'command', argv: [program, ...rest]}
}

async function lastLines(file: string, lines: number): Promise<string> {
  const handle = await open(file, 'r').catch(() => undefined)
  if (!handle) return ''
  try {
    const {size} = await handle.stat()
    const length = Math.min(size, 4 * 1024 ** 2)
    const buffer = Buffer.alloc(length)
    await handle.read(buffer, 0, length, size - length)
    return `${buffer.toString('utf8').split('\n').filter((l) => l !== '').slice(-lines).join('\n')}\n`
  } finally {
    await handle.close()
  }
}

/** The agent's own log is opened for appending, so it can be shortened under its writer. */
function trimAgentLog(file: string): void {
  try {
    if (statSync(file).size < logLimitBytes) return
    const tail = readFileSync(file).subarray(-logLimitBytes / 4)
    void open(file, 'r+').then(async (handle) => {
      await handle.truncate(0)
      await handle.write(tail, 0, tail.length, 0)
      await handle.close()
    })
  } catch {
    // no log file: the agent runs in the foreground
  }
}

/** Linux has no lock that Node can take and a child can inherit, so the endpoint process is started through flock(1). */
async function requiredPrograms(): Promise<{name: string; found: boolean; hint: string}[]> {
  const needed = process.platform === 'linux' ? [{name: 'flock', hint: 'install util-linux (apt-get install util-linux)'}] : []
  const folders = (process.env.PATH ?? '').split(':').filter((folder) => folder !== '')
  return Promise.all(needed.map(async ({name, hint}) => {
    const looks = await Promise.all(folders.map((folder) => access(join(folder, name)).then(() => true, () => false)))
    return {name, hint, found: looks.includes(true)}
  }))
}
