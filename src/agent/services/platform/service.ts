/** The agent about itself: who it is, whether it is well, what the site can do, the audit and the request log. */
import {authorize} from '../../../core/access/principal.js'
import {DbaasError} from '../../../core/errors.js'
import type {ApiAuditEntry, ApiBreaker, ApiCheck} from '../../../core/api/schemas.js'
import {isoTime} from '../../../core/time.js'
import {formatBytes} from '../../../core/units.js'
import type {Found} from '../../runtimes/runtime.js'
import type {AuditLog, ChainedAuditRecord} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import type {PlatformApi} from '../contract.js'

export interface PlatformOptions {
  readonly context: ServiceContext
  readonly auditLog: AuditLog
  /** Chains what waits in the outbox; `verify` must see it. */
  readonly drainAudit: () => Promise<void>
  readonly flushRequests: () => Promise<void>
  readonly agent: {version: string; socket: string; site: string; region: string; startedAt: number; home: string; dataRoot: string}
  readonly strangers: () => Promise<readonly Found[]>
  readonly auditProblem: () => string | null
  readonly readLog: (lines: number) => Promise<string>
  /** Programs of the machine that the agent needs, and the package each comes with. */
  readonly programs: () => Promise<readonly {name: string; found: boolean; hint: string}[]>
  readonly breakers: () => ApiBreaker[]
  readonly stop: () => void
}

/** What a person can do about strangers: take over those that are whole, end the others by hand. */
function adoptable(strangers: readonly Found[]): string {
  const sites = [...new Set(strangers.flatMap((s) => (s.placement && s.siteId ? [s.siteId] : [])))]
  const byHand = 'they are never touched; end them by hand if they are not wanted'
  return sites.length === 0 ? byHand : `${sites.map((site) => `dbaas agent adopt --site ${site}`).join(', ')} takes over what a lost home left (never that of an agent that still runs; its backups need its key, put back first: dbaas keys import FILE); else ${byHand}`
}

const lowDiskBytes = 2 * 1024 ** 3

export function createPlatformService(options: PlatformOptions): PlatformApi {
  const {context, auditLog, agent} = options
  const {store} = context

  const check = (name: string, ok: boolean, message: string, suggestion: string | null = null, bad: ApiCheck['level'] = 'problem'): ApiCheck =>
    ({name, ok, level: ok ? 'ok' : bad, message, suggestion})
  const note = (name: string, message: string, suggestion: string | null = null): ApiCheck => ({name, ok: true, level: 'note', message, suggestion})

  async function endpointCheck(): Promise<ApiCheck> {
    try {
      const status = await context.endpoints.status()
      const problems = status.routes.filter((r) => r.problem !== null)
      return problems.length === 0
        ? check('endpoint', true, `the endpoint process (pid ${status.pid}) serves ${status.routes.length} addresses`)
        : check('endpoint', false, problems.map((r) => `port ${r.listen.port}: ${r.problem}`).join('; '), 'end the other program that has the port')
    } catch (error) {
      return check('endpoint', false, error instanceof Error ? error.message : String(error), 'dbaas agent stop && dbaas agent start')
    }
  }

  function auditCheck(): ApiCheck {
    const problem = options.auditProblem()
    return problem === null ? check('audit', true, 'the audit log is written') : check('audit', false, `the audit log cannot be written: ${problem}`, 'free some space in the home folder')
  }

  /** Where backups are kept; databases go on without. */
  async function repositoriesCheck(): Promise<ApiCheck> {
    const all = await store.read('platform', (tx) => tx.repositories.list())
    const problems = all.flatMap((r) => [
      ...(r.status === 'unavailable' ? [`${r.name} does not answer: ${r.because ?? 'unknown'}`] : []),
      ...(r.copyBecause === null ? [] : [`the copy ${r.name} of ${r.copyOf} is not kept up to date: ${r.copyBecause}`]),
    ])
    return problems.length === 0 ? check('repositories', true, 'backups can be written') : check('repositories', false, problems.join('; '), 'dbaas repositories list')
  }

  const entryView = (entry: ChainedAuditRecord): ApiAuditEntry => ({
    id: entry.id, sequence: entry.sequence, at: isoTime(entry.at), tenant_id: entry.tenantId, actor: entry.actor, source: entry.source,
    action: entry.action, resource: entry.resource, result: entry.result, request_id: entry.requestId, details: {...entry.details},
    previous_hash: entry.previousHash, hash: entry.hash,
  })

  return {
    async health(principal) {
      authorize(principal, 'read', 'health')
      const checks = [await endpointCheck(), auditCheck(), await repositoriesCheck()]
      return {status: checks.every((c) => c.ok) ? 'ok' : 'degraded', checks, circuit_breakers: options.breakers()}
    },
    async agent(principal) {
      authorize(principal, 'read', 'agent')
      const instances = await store.read('platform', (tx) => tx.instances.list())
      return {
        pid: process.pid, version: agent.version, socket: agent.socket, site: agent.site, region: agent.region,
        started_at: isoTime(agent.startedAt), home: agent.home, data_dir: agent.dataRoot, instances: instances.length,
        memory_bytes: process.memoryUsage.rss(),
      }
    },
    async stop(principal) {
      authorize(principal, 'stop', 'agent')
      // on a full disk the agent must still be stoppable: it changes nothing by ending
      await store.transact({tenant: principal.tenantId}, (tx) => tx.audit({
        id: context.newId('audit'), at: context.clock.now(), tenantId: principal.tenantId, actor: principal.id, source: principal.source,
        action: 'agent.stop', resource: 'agent', result: 'succeeded', requestId: principal.requestId, details: {},
      })).catch((error: unknown) => context.log('the stop could not be audited', {error: String(error)}))
      options.stop()
    },
    async logs(principal, lines) {
      authorize(principal, 'read', 'agent')
      return options.readLog(lines)
    },
    async doctor(principal) {
      authorize(principal, 'read', 'doctor')
      const checks: ApiCheck[] = []
      for (const name of context.runtimes.names) {
        // whatever is wrong with one of them is a finding of its own: a doctor that fails finds nothing
        const found = await Promise.all([
          context.runtimes.get(name).facts(),
          Promise.all(context.engines.names.map(async (engine) => ({engine, versions: await context.runtimes.get(name).software.installed(engine)}))),
        ]).catch((error: unknown) => {
          if (!(error instanceof DbaasError)) throw error
          return error
        })
        if (found instanceof DbaasError) {
          // nobody misses what no instance runs on
          const used = (await store.read('platform', (tx) => tx.instances.list())).some((i) => i.runtime === name)
          checks.push(used ? check(`runtime ${name}`, false, found.message, found.suggestions[0] ?? null) : note(`runtime ${name}`, found.message, found.suggestions[0] ?? null))
          continue
        }
        const [facts, engines] = found
        checks.push(check(`runtime ${name}`, true, `${facts.platform}, ${facts.cpus} CPUs, ${formatBytes(facts.memoryAvailableBytes)} of ${formatBytes(facts.memoryTotalBytes)} memory free; servers run as ${facts.serverUser}`))
        checks.push(check('disk', facts.diskFreeBytes > lowDiskBytes, `${formatBytes(facts.diskFreeBytes)} free at ${agent.dataRoot}`, 'free some space, or set DBAAS_HOME to a larger disk', 'warning'))
        for (const kind of ['cpu', 'memory', 'storage'] as const) {
          const limit = facts.limits[kind]
          checks.push(limit.enforced ? check(`${kind} limits`, true, limit.because ?? 'enforced') : note(`${kind} limits`, `not enforced here: ${limit.because ?? 'unknown'}`))
        }
        for (const {engine: engineName, versions} of engines) {
          checks.push(versions.length > 0
            ? check(`engine ${engineName}`, true, versions.map((v) => `${v.version} (${v.source})`).join(', '))
            : note(`engine ${engineName}`, 'no version is installed', `dbaas engines install ${engineName}`))
        }
      }
      for (const {name, found, hint} of await options.programs()) checks.push(check(`program ${name}`, found, found ? 'is there' : 'is missing', hint))
      checks.push(await endpointCheck(), auditCheck(), await repositoriesCheck())
      const strangers = await options.strangers()
      checks.push(strangers.length === 0
        ? check('strangers', true, 'nothing runs here that the agent does not know')
        : check('strangers', false, strangers.map((s) => s.where).join('; '), adoptable(strangers), 'warning'))
      checks.push(note('backups', 'not available yet: databases are not protected against loss of the disk'))
      return checks
    },
    async audit(principal, query) {
      authorize(principal, 'read', 'audit')
      await options.drainAudit()
      const entries = await auditLog.list({limit: query?.limit ?? 100, ...(query?.before === undefined ? {} : {before: query.before})})
      return entries.map(entryView)
    },
    async verifyAudit(principal) {
      authorize(principal, 'verify', 'audit')
      await options.drainAudit()
      const result = await auditLog.verify()
      const head = await store.read('platform', (tx) => tx.settings.get('audit.head'))
      // the chain alone cannot tell that its newest entries were cut off; the metadata database remembers its end
      const [sequence, hash] = head?.split(':') ?? []
      const cut = result.ok && head !== undefined && (result.entries < Number(sequence) || (result.entries === Number(sequence) && result.headHash !== hash))
      return {
        ok: result.ok && !cut, entries: result.entries,
        first_broken_sequence: cut ? result.entries + 1 : result.firstBrokenSequence,
        because: cut ? `the log once had ${sequence} entries, and its end is gone` : result.because, head_hash: result.headHash,
      }
    },
    async requests(principal, limit) {
      authorize(principal, 'read', 'requests')
      await options.flushRequests()
      const records = await store.read({tenant: principal.tenantId}, (tx) => tx.requests.list(limit))
      return records.map((r) => ({
        request_id: r.requestId, client_id: r.clientId, method: r.method, path: r.path, status_code: r.statusCode, duration_ms: r.durationMs,
        timestamp: isoTime(r.at),
      }))
    },
  }
}
