/** Named sets of parameters, each belonging to one engine. Built-in ones depend on the size and cannot be changed. */
import {authorize, type Principal} from '../../../core/access/principal.js'
import type {ApiTemplate, BodyOf} from '../../../core/api/schemas.js'
import {DbaasError} from '../../../core/errors.js'
import type {ParameterLayers, ParameterValues} from '../../../core/instance/instance.js'
import {checkName} from '../../../core/instance/names.js'
import {resolveSize, type InstanceSize} from '../../../core/instance/sizes.js'
import {nearest} from '../../../core/nearest.js'
import {isoTime} from '../../../core/time.js'
import type {Engine} from '../../../engines/engine.js'
import type {ServiceContext} from '../context.js'
import {canonicalNames, type Catalogues} from './catalogues.js'
import {resolveVersion} from '../versions.js'

export interface Templates {
  list(principal: Principal, engine: string): Promise<ApiTemplate[]>
  get(principal: Principal, engine: string, name: string): Promise<ApiTemplate>
  save(principal: Principal, engine: string, name: string, body: BodyOf<'templates.save'>): Promise<ApiTemplate>
  delete(principal: Principal, engine: string, name: string): Promise<void>
  /** What a template sets for a size. Throws UNKNOWN_TEMPLATE with the nearest name. */
  resolve(principal: Principal, engine: Engine, name: string, size: InstanceSize): Promise<ParameterValues>
}

export function createTemplates(context: ServiceContext, catalogues: Catalogues, platform: string): Templates {
  const {store, clock} = context
  const scopeOf = (principal: Principal) => ({tenant: principal.tenantId})

  const builtIn = (engine: Engine, name: string, size = resolveSize({})): ApiTemplate | undefined => {
    const template = Object.hasOwn(engine.config.templates, name) ? engine.config.templates[name] : undefined
    return template && {
      engine: engine.name, name, built_in: true, description: template.description, parameters: {...template.parameters(size)}, updated_at: null,
    }
  }

  async function find(principal: Principal, engine: Engine, name: string, size?: InstanceSize): Promise<ApiTemplate | undefined> {
    const ours = builtIn(engine, name, size)
    if (ours) return ours
    const record = await store.read(scopeOf(principal), (tx) => tx.templates.get(engine.name, name))
    return record && {
      engine: record.engine, name: record.name, built_in: false, description: record.description, parameters: {...record.parameters},
      updated_at: isoTime(record.updatedAt),
    }
  }

  async function unknown(principal: Principal, engine: Engine, name: string, code: 'UNKNOWN_TEMPLATE' | 'TEMPLATE_NOT_FOUND'): Promise<DbaasError> {
    const own = await store.read(scopeOf(principal), (tx) => tx.templates.list(engine.name))
    const names = [...Object.keys(engine.config.templates), ...own.map((t) => t.name)]
    const near = nearest(name, names)
    return new DbaasError(code, `${engine.title} has no template "${name}"`, {
      details: {template: name, engine: engine.name, templates: names.join(', ')},
      suggestions: [...(near ? [`did you mean ${near}?`] : []), `dbaas config templates list --engine ${engine.name}`],
    })
  }

  const refuseBuiltIn = (engine: Engine, name: string): void => {
    if (!builtIn(engine, name)) return
    throw new DbaasError('TEMPLATE_BUILT_IN', `the template "${name}" comes with dbaas and cannot be changed`, {
      details: {template: name}, suggestions: ['save it under another name'],
    })
  }

  const audit = (principal: Principal, action: string, engine: Engine, name: string) => ({
    id: context.newId('audit'), at: clock.now(), tenantId: principal.tenantId, actor: principal.id, source: principal.source, action,
    resource: `template/${engine.name}/${name}`, result: 'succeeded' as const, requestId: principal.requestId, details: {},
  })

  return {
    async list(principal, engineName) {
      authorize(principal, 'list', 'template')
      const engine = context.engines.get(engineName)
      const own = await store.read(scopeOf(principal), (tx) => tx.templates.list(engine.name))
      const ours = Object.keys(engine.config.templates).map((name) => builtIn(engine, name) as ApiTemplate)
      return [...ours, ...own.map((r) => ({
        engine: r.engine, name: r.name, built_in: false, description: r.description, parameters: {...r.parameters}, updated_at: isoTime(r.updatedAt),
      }))]
    },
    async get(principal, engineName, name) {
      authorize(principal, 'read', `template/${name}`)
      const engine = context.engines.get(engineName)
      const found = await find(principal, engine, name)
      if (!found) throw await unknown(principal, engine, name, 'TEMPLATE_NOT_FOUND')
      return found
    },
    async save(principal, engineName, name, body) {
      authorize(principal, 'update', `template/${name}`)
      context.mayChange()
      const engine = context.engines.get(engineName)
      checkName(name, 'template')
      refuseBuiltIn(engine, name)
      const runtime = context.runtimes.get(context.runtimes.default)
      const resolved = await resolveVersion(engine, runtime, body.version, platform)
      const {version} = resolved
      const parameters = canonicalNames(body.parameters)
      await catalogues.check(engine, runtime, resolved, parameters, {...engine.config.fromSize(resolveSize({}), version), ...parameters})
      await store.transact(scopeOf(principal), async (tx) => {
        await tx.templates.put({
          tenantId: principal.tenantId, engine: engine.name, name, description: body.description ?? '', parameters, updatedAt: clock.now(),
        })
        await tx.audit(audit(principal, 'templates.save', engine, name))
      })
      return (await find(principal, engine, name)) as ApiTemplate
    },
    async delete(principal, engineName, name) {
      authorize(principal, 'delete', `template/${name}`)
      context.mayChange()
      const engine = context.engines.get(engineName)
      refuseBuiltIn(engine, name)
      if (!(await find(principal, engine, name))) throw await unknown(principal, engine, name, 'TEMPLATE_NOT_FOUND')
      await store.transact(scopeOf(principal), async (tx) => {
        await tx.templates.remove(engine.name, name)
        await tx.audit(audit(principal, 'templates.delete', engine, name))
      })
    },
    async resolve(principal, engine, name, size) {
      const found = await find(principal, engine, name, size)
      if (!found) throw await unknown(principal, engine, name, 'UNKNOWN_TEMPLATE')
      return found.parameters
    },
  }
}

/** The three layers of a new configuration; the template is copied, so that later edits of it change nothing here. */
export async function layersFor(of: {
  engine: Engine; size: InstanceSize; version: string; template: string | undefined | null; user: ParameterValues; templates: Templates; principal: Principal
}): Promise<ParameterLayers> {
  return {
    size: of.engine.config.fromSize(of.size, of.version),
    template: of.template ? await of.templates.resolve(of.principal, of.engine, of.template, of.size) : {},
    user: of.user,
  }
}
