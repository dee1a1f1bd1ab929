/** Engine versions on this site: what there is, what is installed, install and remove. */
import {authorize, type Principal} from '../../../core/access/principal.js'
import type {ApiEngine} from '../../../core/api/schemas.js'
import {DbaasError} from '../../../core/errors.js'
import {nearest} from '../../../core/nearest.js'
import {done, workflow} from '../../../core/workflow/workflow.js'
import type {Engine} from '../../../engines/engine.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import type {EnginesApi, Idempotency, Planned, StartedBare} from '../contract.js'
import {operationView, planView} from '../operation-view.js'
import {repeated, submit} from '../submit.js'
import {byVersion} from '../versions.js'

export interface SoftwareInput {
  readonly engine: string
  readonly version: string
}

const installKind = 'engine.install'
const removeKind = 'engine.remove'

export function softwareWorkflows(context: ServiceContext, platform: string) {
  const install = workflow<SoftwareInput, Tx>()({
    kind: installKind,
    start: 'install',
    order: ['install'],
    deadlineSeconds: 900,
    steps: {
      install: {
        retrySeconds: 120,
        async run({input, progress, signal}) {
          const runtime = context.runtimes.get(context.runtimes.default)
          const already = await runtime.software.locate(input.engine, input.version)
          const version = context.engines.get(input.engine).versions.known(platform).find((v) => v.version === input.version)
          if (!already && !version) throw new DbaasError('UNKNOWN_VERSION', `there is no ${input.engine} ${input.version} to install`)
          const installed = already ?? (await runtime.software.install(input.engine, {version: input.version, known: version ?? null, from: null, checksum: null}, progress, signal))
          return done({engine: input.engine, version: installed.version, source: installed.source})
        },
        // the store of programs is written under a name of its own and renamed at the end: there is no half
      },
    },
  })
  const remove = workflow<SoftwareInput, Tx>()({
    kind: removeKind,
    start: 'remove',
    order: ['remove'],
    deadlineSeconds: 300,
    steps: {
      remove: {
        async run({input}) {
          const users = await usersOf(context, input.engine, input.version)
          if (users.length > 0) throw inUse(input.engine, input.version, users)
          await context.runtimes.get(context.runtimes.default).software.remove(input.engine, input.version)
          return done({engine: input.engine, version: input.version})
        },
      },
    },
  })
  return [install, remove]
}

const usersOf = (context: ServiceContext, engine: string, version: string): Promise<string[]> =>
  context.store.read('platform', async (tx) =>
    (await tx.instances.list()).filter((i) => i.engine === engine && i.version === version).map((i) => i.name))

const inUse = (engine: string, version: string, users: readonly string[]): DbaasError =>
  new DbaasError('ENGINE_IN_USE', `${engine} ${version} is used by ${users.length === 1 ? 'an instance' : `${users.length} instances`}`, {
    details: {engine, version, instances: users.join(', ')}, suggestions: users.slice(0, 3).map((name) => `dbaas delete ${name}`),
  })

export function createSoftwareService(options: {
  context: ServiceContext; platform: string
  workflow: (kind: string) => {readonly order: readonly string[]; readonly deadlineSeconds: number}
}): EnginesApi {
  const {context, platform} = options
  const runtime = () => context.runtimes.get(context.runtimes.default)

  async function versionsOf(engine: Engine): Promise<ApiEngine['versions']> {
    const installed = await runtime().software.installed(engine.name)
    const rows = new Map(installed.map((v) => [v.version, {version: v.version, source: v.source as string, installed: true, path: v.bin as string | null}]))
    for (const known of engine.versions.known(platform)) {
      if (!rows.has(known.version)) rows.set(known.version, {version: known.version, source: known.bundled ? 'bundled' : 'npm', installed: known.bundled, path: null})
    }
    return [...rows.values()].sort((a, b) => byVersion(a.version, b.version))
  }

  async function start(principal: Principal, kind: string, input: SoftwareInput, idempotency: Idempotency | undefined): Promise<StartedBare> {
    const flow = options.workflow(kind)
    const operation = await context.store.transact({tenant: principal.tenantId}, (tx) => submit(context, tx, principal, {
      kind, instanceId: null, resource: `engine/${input.engine}@${input.version}`, input: {...input}, start: flow.order[0] as string, deadlineSeconds: flow.deadlineSeconds,
    }, idempotency))
    context.poke()
    return {operation: operationView(operation)}
  }

  const fits = (asked: string, version: string): boolean => version === asked || version.startsWith(`${asked}.`)

  return {
    async list(principal) {
      authorize(principal, 'list', 'engine')
      return Promise.all(context.engines.names.map(async (name) => ({name, versions: await versionsOf(context.engines.get(name))})))
    },
    async install(principal, engineName, body, idempotency): Promise<StartedBare | Planned> {
      authorize(principal, 'install', `engine/${engineName}`)
      const before = await repeated(context, principal, idempotency)
      if (before) return {operation: operationView(before)}
      const engine = context.engines.get(engineName)
      const rows = await versionsOf(engine)
      const version = rows.find((v) => fits(body.version, v.version))
      if (!version) {
        const names = rows.map((v) => v.version)
        const near = nearest(body.version, names)
        throw new DbaasError('UNKNOWN_VERSION', `there is no ${engine.title} ${body.version} to install`, {
          details: {engine: engine.name, version: body.version, versions: names.join(', ')},
          suggestions: [near ? `dbaas engines install ${engine.name}@${near}` : 'dbaas engines list'],
        })
      }
      if (body.plan) return {plan: planView({steps: options.workflow(installKind).order})}
      return start(principal, installKind, {engine: engine.name, version: version.version}, idempotency)
    },
    async remove(principal, engineName, asked, {plan}, idempotency): Promise<StartedBare | Planned> {
      authorize(principal, 'remove', `engine/${engineName}`)
      const before = await repeated(context, principal, idempotency)
      if (before) return {operation: operationView(before)}
      const engine = context.engines.get(engineName)
      const installed = await runtime().software.installed(engine.name)
      const version = installed.find((v) => fits(asked, v.version))
      if (!version) {
        throw new DbaasError('ENGINE_NOT_INSTALLED', `${engine.title} ${asked} is not installed`, {
          details: {installed: installed.map((v) => v.version).join(', ')}, suggestions: ['dbaas engines list'],
        })
      }
      if (version.source === 'system') {
        throw new DbaasError('INVALID_STATE', `${engine.title} ${version.version} belongs to the system (${version.bin}) and is not removed by dbaas`, {
          suggestions: ['remove it with the package manager of the system'],
        })
      }
      const users = await usersOf(context, engine.name, version.version)
      if (users.length > 0) throw inUse(engine.name, version.version, users)
      if (plan) return {plan: planView({steps: options.workflow(removeKind).order})}
      return start(principal, removeKind, {engine: engine.name, version: version.version}, idempotency)
    },
  }
}
