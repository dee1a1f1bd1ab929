/** Engine versions on this site: what there is, what is installed, install and remove. */
import {authorize, type Principal} from '../../../core/access/principal.js'
import {formatChecksum, parseChecksum} from '../../../core/checksum.js'
import type {BodyOf} from '../../../core/api/schemas.js'
import {DbaasError} from '../../../core/errors.js'
import {nearest} from '../../../core/nearest.js'
import {fitsVersion} from '../../../core/version.js'
import type {Engine} from '../../../engines/engine.js'
import type {Runtime} from '../../runtimes/runtime.js'
import type {ServiceContext} from '../context.js'
import type {EnginesApi, Idempotency, Planned, StartedBare} from '../contract.js'
import {operationView, planView} from '../operation-view.js'
import {repeated, submit} from '../submit.js'
import {howToGet, refuseUnsupported} from '../versions.js'
import {createSoftwareList} from './list.js'
import {installDeadlineSeconds, installKind, installSteps, inUse, removeKind, usersOf, type SoftwareInput} from './workflows.js'

type InstallBody = BodyOf<'engines.install'>

export function createSoftwareService(options: {
  context: ServiceContext; platform: string
  workflow: (kind: string) => {readonly order: readonly string[]; readonly deadlineSeconds: number}
}): EnginesApi {
  const {context, platform} = options
  const {list, versionsIn} = createSoftwareList(context, platform)

  async function start(
    principal: Principal, kind: string, input: SoftwareInput, how: {start: string; deadlineSeconds: number}, idempotency: Idempotency | undefined,
  ): Promise<StartedBare> {
    const resource = `engine/${input.engine}${input.version === '' ? '' : `@${input.version}`}`
    const operation = await context.store.transact({tenant: principal.tenantId}, (tx) => submit(context, tx, principal, {
      kind, instanceId: null, resource, input: {...input, stages: input.stages ? [...input.stages] : null}, ...how,
    }, idempotency))
    context.poke()
    return {operation: operationView(operation)}
  }

  /** What is asked for, as the operation keeps it. Throws what can be refused before there is one. */
  async function inputOf(engine: Engine, name: string, runtime: Runtime, body: InstallBody): Promise<SoftwareInput> {
    const {software} = runtime
    const asked = body.version ?? ''
    const from = body.from ?? null
    const checksum = body.checksum === undefined ? null : formatChecksum(parseChecksum(body.checksum))
    const input: SoftwareInput = {engine: engine.name, version: asked, runtime: name, from, checksum}
    if (asked !== '' && (from !== null || software.onDemand)) refuseUnsupported(engine, asked)
    if (software.onDemand) {
      if (checksum !== null && !checksum.startsWith('sha256:')) {
        throw new DbaasError('NOT_SUPPORTED', 'the checksum of an image is its digest, which is sha256:HEX', {suggestions: ['docker buildx imagetools inspect IMAGE']})
      }
      return {...input, version: asked === '' && from === null ? engine.versions.default : asked}
    }
    if (from !== null) {
      if (software.archives) return {...input, stages: await software.archives.plan(engine.name, {version: asked, known: null, from, checksum})}
      throw new DbaasError('NOT_SUPPORTED', `the runtime ${name} installs nothing from ${from}`, {suggestions: [`--runtime ${context.runtimes.default}`]})
    }
    if (checksum !== null) throw new DbaasError('INVALID_REQUEST', 'a checksum is of what --from names, and nothing is named', {suggestions: ['--from URL --checksum sha256:HEX']})
    return {...input, version: await nameable(engine, name, asked)}
  }

  /** The newest version that is installed, or can be by its name alone. Throws USAGE, ENGINE_NOT_INSTALLED, UNKNOWN_VERSION. */
  async function nameable(engine: Engine, runtime: string, asked: string): Promise<string> {
    const rows = await versionsIn(runtime, engine)
    const version = asked === '' ? undefined : rows.find((v) => fitsVersion(asked, v.version))?.version
    if (version !== undefined) return version
    const names = rows.map((v) => v.version)
    const details = {engine: engine.name, ...(asked === '' ? {} : {version: asked}), versions: names.join(', ')}
    if (engine.versions.known(platform).length === 0) {
      if (asked !== '') refuseUnsupported(engine, asked)
      throw new DbaasError('ENGINE_NOT_INSTALLED', `${engine.title}${asked === '' ? '' : ` ${asked}`} was not found on this machine, and no registry has it`, {
        details, suggestions: howToGet(engine, 'install'),
      })
    }
    if (asked === '') throw new DbaasError('USAGE', `which version of ${engine.title}?`, {details, suggestions: [`dbaas engines install ${engine.name} ${names[0]}`, 'dbaas engines list']})
    const near = nearest(asked, names)
    throw new DbaasError('UNKNOWN_VERSION', `there is no ${engine.title} ${asked} to install`, {
      details, suggestions: [near ? `dbaas engines install ${engine.name}@${near}` : 'dbaas engines list'],
    })
  }

  /** The runtime that is named, else the first that has the version, the default one before the others. */
  async function whereInstalled(engine: Engine, asked: string, named: string | undefined) {
    const others = context.runtimes.names.filter((name) => name !== context.runtimes.default)
    const all: string[] = []
    for (const name of named === undefined ? [context.runtimes.default, ...others] : [named]) {
      // an installed one elsewhere must not be hidden by a runtime that does not answer
      const installed = await context.runtimes.get(name).software.installed(engine.name).catch((error: unknown) => {
        if (named !== undefined || name === context.runtimes.default) throw error
        return []
      })
      const version = installed.find((v) => fitsVersion(asked, v.version))
      if (version) return {runtime: name, version}
      all.push(...installed.map((v) => v.version))
    }
    throw new DbaasError('ENGINE_NOT_INSTALLED', `${engine.title} ${asked} is not installed`, {
      details: {installed: all.join(', ')}, suggestions: ['dbaas engines list'],
    })
  }

  return {
    async list(principal) {
      authorize(principal, 'list', 'engine')
      return list()
    },
    async install(principal, engineName, body, idempotency): Promise<StartedBare | Planned> {
      authorize(principal, 'install', `engine/${engineName}`)
      const before = await repeated(context, principal, idempotency)
      if (before) return {operation: operationView(before)}
      const engine = context.engines.get(engineName)
      const name = body.runtime ?? context.runtimes.default
      const input = await inputOf(engine, name, context.runtimes.get(name), body)
      const steps = installSteps(input)
      if (body.plan) return {plan: planView({steps})}
      return start(principal, installKind, input, {
        start: steps[0] as string, deadlineSeconds: installDeadlineSeconds(input, context.runtimes.default),
      }, idempotency)
    },
    async remove(principal, engineName, asked, {plan, runtime: named}, idempotency): Promise<StartedBare | Planned> {
      authorize(principal, 'remove', `engine/${engineName}`)
      const before = await repeated(context, principal, idempotency)
      if (before) return {operation: operationView(before)}
      const engine = context.engines.get(engineName)
      const {runtime, version} = await whereInstalled(engine, asked, named)
      if (version.source === 'system') {
        throw new DbaasError('INVALID_STATE', `${engine.title} ${version.version} belongs to the system (${version.bin}) and is not removed by dbaas`, {
          suggestions: ['remove it with the package manager of the system'],
        })
      }
      const users = await usersOf(context, engine.name, version.version, runtime)
      if (users.length > 0) throw inUse(engine.name, version.version, users)
      const {order, deadlineSeconds} = options.workflow(removeKind)
      if (plan) return {plan: planView({steps: order})}
      return start(principal, removeKind, {engine: engine.name, version: version.version, runtime}, {start: order[0] as string, deadlineSeconds}, idempotency)
    },
  }
}
