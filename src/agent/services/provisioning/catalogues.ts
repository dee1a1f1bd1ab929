/** The parameter catalogue of each version, read once from a real server of it and kept in a file. */
import {setTimeout as pause} from 'node:timers/promises'
import type {Catalogue} from '../../../core/config/parameters.js'
import {DbaasError} from '../../../core/errors.js'
import {resolveSize} from '../../../core/instance/sizes.js'
import {nearest} from '../../../core/nearest.js'
import type {Engine} from '../../../engines/engine.js'
import type {Host} from '../../../engines/host.js'
import type {Runtime, Software} from '../../runtimes/runtime.js'
import type {ServiceContext} from '../context.js'
import {adminName} from './servers.js'

/** Where catalogues are kept; the composition root gives files. */
export interface CatalogueFiles {
  load(key: string): Promise<Catalogue | undefined>
  save(key: string, catalogue: Catalogue): Promise<void>
}

/** What a catalogue is read from: builds of one version may differ (what they were compiled with). */
export type Build = Pick<Software, 'version' | 'image'>

export type Catalogues = ReturnType<typeof createCatalogues>

const readySeconds = 60

export function createCatalogues(context: ServiceContext, files: CatalogueFiles) {
  const kept = new Map<string, Promise<Catalogue>>()

  async function of(engine: Engine, runtime: Runtime, {version, image}: Build): Promise<Catalogue> {
    const key = `${engine.name}-${version}${image === null ? '' : `-${image.id.replace(/^sha256:/, '').slice(0, 12)}`}`
    let catalogue = kept.get(key)
    if (!catalogue) {
      catalogue = files.load(key).then((found) => found ?? fromServer(engine, runtime, {version, image}, key))
      kept.set(key, catalogue)
      catalogue.catch(() => kept.delete(key))
    }
    return catalogue
  }

  /** A server of that build, with nothing in it, for as long as `work` takes. */
  const onScratch = <T>(engine: Engine, runtime: Runtime, {version, image}: Build, work: (host: Host) => Promise<T>): Promise<T> =>
    runtime.scratch.use({engine: engine.name, version, image}, async ({host, start}) => {
      const credentials = await context.certificates.admin(adminName)
      await engine.lifecycle.initialise(host, version)
      await engine.config.write(host, {
        version, instanceName: 'scratch', values: engine.config.fromSize(resolveSize({size: 'micro'}), version),
        tls: {
          ...(await context.certificates.issueServer({commonName: 'scratch', dns: ['localhost', 'scratch'], ip: ['127.0.0.1', '::1']})),
          clientCa: context.certificates.caCertificate,
        },
      })
      await start(engine.lifecycle.command(host, version))
      for (const until = context.clock.now() + readySeconds * 1000; ; ) {
        const not = await engine.lifecycle.whyNotReady(host, credentials)
        if (not === undefined) break
        if (context.clock.now() > until) throw new DbaasError('DATABASE_UNAVAILABLE', `the scratch server of ${engine.title} ${version} does not answer: ${not}`)
        await pause(20)
      }
      return work(host)
    })

  async function fromServer(engine: Engine, runtime: Runtime, build: Build, key: string): Promise<Catalogue> {
    const catalogue = await onScratch(engine, runtime, build, async (host) => engine.config.readCatalogue(host, await context.certificates.admin(adminName)))
    await files.save(key, catalogue)
    return catalogue
  }

  /**
   * Checks values against the catalogue, and what only the binary knows against the binary. Throws UNKNOWN_PARAMETER,
   * PARAMETER_MANAGED, INVALID_PARAMETER_VALUE. `instance`: the name of the one to be changed, for what is suggested.
   */
  async function check(
    engine: Engine, runtime: Runtime, {version, image}: Build, values: Readonly<Record<string, string>>, all: Readonly<Record<string, string>>, instance?: string,
  ): Promise<void> {
    if (Object.keys(values).length === 0) return
    const catalogue = await of(engine, runtime, {version, image})
    const explain = (name: string): string =>
      instance === undefined ? `dbaas api GET /v1/engines/${engine.name}/versions/${version}/parameters/${name}` : `dbaas config explain ${instance} ${name}`
    for (const [name, value] of Object.entries(values)) {
      const definition = definitionOf(engine, catalogue, version, name, instance)
      if (definition.managed !== null) {
        throw new DbaasError('PARAMETER_MANAGED', `${name} is set by dbaas: ${definition.managed}`, {
          details: {parameter: name, because: definition.managed}, suggestions: [`leave ${name} away`, explain(name)],
        })
      }
      if (definition.requires === 'fixed') {
        throw new DbaasError('PARAMETER_MANAGED', `${name} cannot be changed after the server was built`, {
          details: {parameter: name}, suggestions: [`leave ${name} away`, explain(name)],
        })
      }
      const because = engine.config.whyNotValid(definition, value)
      if (because !== undefined && because !== 'ask') throw invalid(name, value, because, definition, explain(name))
    }
    // combinations (and strings) are judged by the server's own program, with everything that will be in the file
    await runtime.scratch.use({engine: engine.name, version, image}, async ({host}: {host: Host}) => {
      const refusal = await engine.config.preflight(host, all, version)
      if (!refusal) return
      const name = refusal.parameter ?? Object.keys(values)[0] ?? 'a parameter'
      throw invalid(name, all[name] ?? '', refusal.because, catalogue.get(name), explain(name))
    })
  }

  function definitionOf(engine: Engine, catalogue: Catalogue, version: string, name: string, instance?: string) {
    const definition = catalogue.get(name)
    if (definition) return definition
    const near = nearest(name, catalogue.keys())
    throw new DbaasError('UNKNOWN_PARAMETER', `${engine.title} ${version} has no parameter "${name}"`, {
      details: {parameter: name, engine: engine.name, version, ...(near ? {nearest: near} : {})},
      suggestions: near ? [`did you mean ${near}?`] : [instance === undefined ? `dbaas api GET /v1/engines/${engine.name}/versions/${version}/parameters` : `dbaas config show ${instance} --all`],
    })
  }

  return {of, check, definitionOf, onScratch}
}

function invalid(name: string, value: string, because: string, definition: {min: string | null; max: string | null; unit: string | null; values: readonly string[] | null} | undefined, explain: string): DbaasError {
  return new DbaasError('INVALID_PARAMETER_VALUE', `"${value}" is not a value of ${name}: ${because}`, {
    details: {
      parameter: name, value, because,
      ...(definition?.min != null ? {min: definition.min} : {}), ...(definition?.max != null ? {max: definition.max} : {}),
      ...(definition?.unit != null ? {unit: definition.unit} : {}), ...(definition?.values ? {values: definition.values.join(', ')} : {}),
    },
    suggestions: [explain],
  })
}

/** Servers take parameter names in any case; records and files hold them in lower case. Throws INVALID_REQUEST for doubles. */
export function canonicalNames(values: Readonly<Record<string, string>>): Record<string, string> {
  const result: Record<string, string> = {}
  for (const [name, value] of Object.entries(values)) {
    const canonical = name.toLowerCase()
    if (Object.hasOwn(result, canonical)) throw new DbaasError('INVALID_REQUEST', `${canonical} is given twice`, {details: {parameter: canonical}})
    result[canonical] = value
  }
  return result
}
