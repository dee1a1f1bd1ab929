/** Installing and removing the programs of an engine, in durable steps. */
import {DbaasError} from '../../../core/errors.js'
import type {Json} from '../../../core/json.js'
import {done, next, workflow, type Step} from '../../../core/workflow/workflow.js'
import type {ArchiveStage, InstalledVersion, InstallRequest, SoftwareStore} from '../../runtimes/runtime.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'

/** As it is stored; what is optional was not there in operations of earlier agents. */
export interface SoftwareInput {
  readonly engine: string
  /** Empty for whatever `from` holds. */
  readonly version: string
  readonly runtime?: string
  readonly from?: string | null
  readonly checksum?: string | null
  /** The steps before `check`, where it comes from an archive or a folder. */
  readonly stages?: readonly ArchiveStage[]
}

export const installKind = 'engine.install'
export const removeKind = 'engine.remove'

type InstallStep = 'install' | ArchiveStage | 'check'

/** The steps that an install takes: those of an archive, or the one of a registry. */
export const installSteps = ({stages}: Pick<SoftwareInput, 'stages'>): readonly InstallStep[] => (stages ? [...stages, 'check'] : ['install'])

/** A gigabyte over a slow line; what a registry has is 60 MB. */
export const installDeadlineSeconds = ({from, runtime}: Pick<SoftwareInput, 'from' | 'runtime'>, defaultRuntime: string): number =>
  from || (runtime ?? defaultRuntime) !== defaultRuntime ? 4 * 3600 : 900

export function softwareWorkflows(context: ServiceContext, platform: string) {
  const runtimeOf = ({runtime}: SoftwareInput): string => runtime ?? context.runtimes.default
  const softwareOf = (input: SoftwareInput): SoftwareStore => context.runtimes.get(runtimeOf(input)).software

  const requestOf = (input: SoftwareInput): InstallRequest => ({
    version: input.version, from: input.from ?? null, checksum: input.checksum ?? null,
    known: input.from || softwareOf(input).onDemand ? null : (context.engines.get(input.engine).versions.known(platform).find((v) => v.version === input.version) ?? null),
  })

  const resultOf = (input: SoftwareInput, installed: InstalledVersion, already: boolean): Json => ({
    engine: input.engine, version: installed.version, runtime: runtimeOf(input), source: installed.source, path: installed.bin,
    checksum: installed.checksum ?? null, already,
  })

  const stage = (name: ArchiveStage): Step<SoftwareInput, Tx, InstallStep> => ({
    retrySeconds: 60,
    async run({input, progress, signal}) {
      const {archives} = softwareOf(input)
      if (!archives) throw new DbaasError('NOT_SUPPORTED', `the runtime ${runtimeOf(input)} installs nothing from archives`)
      await archives.advance(input.engine, requestOf(input), name, progress, signal)
      const steps = installSteps(input)
      return next(steps[steps.indexOf(name) + 1] ?? 'check')
    },
    async undo({input, operationId}) {
      // what has come of a download that failed is worth something to the next try; who cancels wants none of it
      const operation = await context.store.read('platform', (tx) => tx.operations.get(operationId))
      await softwareOf(input).archives?.abandon(input.engine, requestOf(input), {keepPartial: operation?.cancelRequested !== true})
    },
  })

  const install = workflow<SoftwareInput, Tx>()({
    kind: installKind,
    start: 'install',
    order: ['install', 'download', 'verify', 'unpack', 'copy', 'check'],
    deadlineSeconds: 900,
    steps: {
      install: {
        retrySeconds: 120,
        async run({input, progress, signal}) {
          const software = softwareOf(input)
          const request = requestOf(input)
          // whether what is here is what the checksum says, only the runtime can tell
          const already = request.checksum === null ? await software.locate(input.engine, input.version, request.from) : undefined
          if (!already && !request.known && !software.onDemand) throw new DbaasError('UNKNOWN_VERSION', `there is no ${input.engine} ${input.version} to install`)
          return done(resultOf(input, already ?? (await software.install(input.engine, request, progress, signal)), already !== undefined))
        },
        // the store of programs is written under a name of its own and renamed at the end: there is no half
      },
      download: stage('download'),
      verify: stage('verify'),
      unpack: stage('unpack'),
      copy: stage('copy'),
      check: {
        async run({input, progress, signal}) {
          const software = softwareOf(input)
          const before = new Set((await software.installed(input.engine)).filter((v) => v.source !== 'system').map((v) => v.version))
          const installed = await software.install(input.engine, requestOf(input), progress, signal)
          return done(resultOf(input, installed, before.has(installed.version)))
        },
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
          const users = await usersOf(context, input.engine, input.version, runtimeOf(input))
          if (users.length > 0) throw inUse(input.engine, input.version, users)
          await softwareOf(input).remove(input.engine, input.version)
          return done({engine: input.engine, version: input.version, runtime: runtimeOf(input)})
        },
      },
    },
  })
  return [install, remove] as const
}

/** Names of the instances that run on that version. */
export const usersOf = (context: ServiceContext, engine: string, version: string, runtime: string): Promise<string[]> =>
  context.store.read('platform', async (tx) =>
    (await tx.instances.list()).filter((i) => i.engine === engine && i.version === version && i.runtime === runtime).map((i) => i.name))

export const inUse = (engine: string, version: string, users: readonly string[]): DbaasError =>
  new DbaasError('ENGINE_IN_USE', `${engine} ${version} is used by ${users.length === 1 ? 'an instance' : `${users.length} instances`}`, {
    details: {engine, version, instances: users.join(', ')}, suggestions: users.slice(0, 3).map((name) => `dbaas delete ${name}`),
  })
