/** Rebuilds the store from what exists: instances that a lost site left behind become this site's. */
import {authorize, type Principal} from '../../../core/access/principal.js'
import {DbaasError} from '../../../core/errors.js'
import type {InstanceRecord, NodeRecord} from '../../../core/instance/instance.js'
import type {Found, Placement, Runtime} from '../../runtimes/runtime.js'
import type {ServiceContext} from '../context.js'
import type {AdoptionApi} from '../contract.js'
import {operationView, planView} from '../operation-view.js'
import {submit} from '../submit.js'
import {adoptKind, stepsOfSeveral, type AdoptInput} from './adopt.workflow.js'
import {freeEndpointPort} from './ports.js'
import {runtimesUsed, type InstancesService} from './service.js'

/** The steps that an instance of so many servers needs. */
const stepsOf = (order: readonly string[], servers: number): readonly string[] => (servers > 1 ? order : order.filter((step) => !stepsOfSeveral.includes(step)))

type Whole = Found & {readonly placement: Placement}

export function createAdoption(options: {
  context: ServiceContext; instances: InstancesService
  /** What the store does not know. */
  strangers: () => Promise<readonly Found[]>
  workflow: (kind: string) => {readonly order: readonly string[]; readonly deadlineSeconds: number}
}): AdoptionApi {
  const {context, instances} = options
  const {store, clock} = context

  async function foundOf(siteId: string): Promise<{runtime: Runtime; found: Whole}[]> {
    const unknown = new Set((await options.strangers()).map((s) => s.nodeId))
    const all = await Promise.all(context.runtimes.names.map(async (name) => {
      const runtime = context.runtimes.get(name)
      const list = await runtime.list().catch((error: unknown) => {
        if (error instanceof DbaasError && error.code === 'RUNTIME_UNAVAILABLE') return []
        throw error
      })
      return list.flatMap((found) => (found.placement && found.siteId === siteId && unknown.has(found.nodeId) ? [{runtime, found: found as Whole}] : []))
    }))
    return all.flat()
  }

  function recordOf(placement: Placement, runtime: Runtime, endpointPort: number): InstanceRecord {
    const {facts} = placement
    return {
      id: placement.instanceId, tenantId: placement.tenantId, name: placement.instanceName, engine: placement.engine, version: placement.version,
      runtime: runtime.name, image: placement.image, imageAsked: null, publishAddress: placement.publishAddress, leased: false,
      status: 'provisioning', statusReason: null, wanted: 'running', size: placement.size, template: facts.template, layers: facts.layers,
      endpointHost: '127.0.0.1', endpointPort, database: facts.database, username: facts.username, incarnation: facts.incarnation,
      protected: facts.protected, expiresAt: facts.expiresAt, createdAt: facts.createdAt, updatedAt: clock.now(),
    }
  }

  const nodeOf = (placement: Placement, role: NodeRecord['role']): NodeRecord => ({
    id: placement.nodeId, tenantId: placement.tenantId, instanceId: placement.instanceId, name: placement.nodeName, role, wanted: 'running',
    status: 'absent', statusReason: null, port: placement.port, runtimeRef: null, createdAt: placement.facts.createdAt, updatedAt: clock.now(),
  })

  async function portFor(placement: Placement, runtime: Runtime): Promise<number> {
    const {endpointPort} = placement.facts
    const taken = (await store.read('platform', (tx) => tx.ports.list())).some((p) => p.port === endpointPort)
    return !taken && (await runtime.isPortFree(endpointPort)) ? endpointPort : freeEndpointPort(context, runtime)
  }

  return {
    async adopt(principal: Principal, {site_id: siteId, plan}) {
      authorize(principal, 'adopt', `site/${siteId}`)
      const found = await foundOf(siteId)
      if (found.length === 0) {
        const sites = [...new Set((await options.strangers()).flatMap((s) => (s.placement && s.siteId ? [s.siteId] : [])))]
        throw new DbaasError('SITE_NOT_FOUND', `nothing of a site ${siteId} is here to adopt`, {
          details: {site_id: siteId, ...(sites.length > 0 ? {sites: sites.join(', ')} : {})},
          suggestions: sites.length > 0 ? sites.map((site) => `dbaas agent adopt --site ${site}`) : ['dbaas doctor'],
        })
      }
      const names = new Set((await store.read({tenant: principal.tenantId}, (tx) => tx.instances.list())).map((i) => i.name))
      const clash = found.find(({found: {placement}}) => names.has(placement.instanceName))
      if (clash) {
        const name = clash.found.placement.instanceName
        throw new DbaasError('NAME_IN_USE', `there already is an instance "${name}" here, and one in site ${siteId}`, {
          details: {name, site_id: siteId}, suggestions: [`dbaas delete ${name} --plan`, 'adopt into an empty home: DBAAS_HOME=DIR dbaas agent adopt …'],
        })
      }
      const flow = options.workflow(adoptKind)
      const ids = new Set(found.map(({found: {placement}}) => placement.instanceId))
      const byInstance = [...ids].map((id) => found.filter(({found: {placement}}) => placement.instanceId === id))
      if (plan) return {plan: planView({steps: byInstance.flatMap((servers) => stepsOf(flow.order, servers.length).map((step) => `${servers[0]?.found.placement.instanceName}: ${step}`)), impact: 'restart', expected_downtime_ms: null, reversible: false})}
      const operations = []
      for (const servers of byInstance) {
        const [{runtime, found: {placement}}] = servers as [typeof servers[number]]
        // its name and its engine must be ones that this agent can run
        context.engines.get(placement.engine)
        const record = recordOf(placement, runtime, await portFor(placement, runtime))
        operations.push(await store.transact({tenant: principal.tenantId}, async (tx) => {
          const used = new Set((await tx.settings.get(runtimesUsed))?.split(','))
          if (!used.has(runtime.name)) await tx.settings.put(runtimesUsed, [...used, runtime.name].join(','))
          await tx.instances.insert(record)
          await tx.ports.reserve({tenantId: record.tenantId, port: record.endpointPort, ownerId: record.id})
          for (const [i, {found: {placement: each}}] of servers.entries()) {
            // of several, who is the primary is found out first
            await tx.nodes.insert(nodeOf(each, i === 0 ? 'primary' : 'replica'))
            await tx.ports.reserve({tenantId: record.tenantId, port: each.port, ownerId: each.nodeId})
          }
          // the old one cannot be read without the key of the site that is gone
          await tx.secrets.put(record.tenantId, record.id, 'password', context.randomSecret())
          const input: AdoptInput = {instanceId: record.id, fromSite: siteId}
          return submit(context, tx, principal, {
            kind: adoptKind, instanceId: record.id, resource: `instance/${record.name}`, input: {...input}, start: flow.order[0] as string,
            deadlineSeconds: flow.deadlineSeconds,
          }, undefined)
        }))
      }
      context.poke()
      return {operations: operations.map(operationView), instances: await Promise.all(operations.map((o) => instances.get(principal, o.instanceId as string)))}
    },
  }
}
