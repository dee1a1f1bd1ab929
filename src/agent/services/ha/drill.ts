/** What may be rehearsed, and where. */
import {authorize} from '../../../core/access/principal.js'
import {DbaasError} from '../../../core/errors.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import type {AnyWorkflow} from '../../workflow/engine.js'
import type {HighAvailabilityApi} from '../contract.js'
import {operationView, planView} from '../operation-view.js'
import {repeated, submit} from '../submit.js'
import type {FailoverDrillInput, FailoverDrillParts} from './drill.workflow.js'
import {failoverDrillKind} from './drill.workflow.js'
import {replicationOf} from './members.js'
import type {ChangesOptions} from './changes.js'

export function createDrill({context, clusters, instances, workflow}: Pick<FailoverDrillParts, 'context' | 'clusters'> & Pick<ChangesOptions, 'instances'> & {
  workflow(kind: string): AnyWorkflow
}): HighAvailabilityApi['drill'] {
  const {store} = context

  /** Throws NOT_SUPPORTED, INVALID_STATE. */
  async function mustBeReady(instance: InstanceRecord, fault: FailoverDrillInput['fault'], clone: boolean): Promise<void> {
    const {name} = instance
    const details = {instance: name}
    replicationOf(context.engines.get(instance.engine))
    if (clone) {
      throw new DbaasError('NOT_SUPPORTED', 'a drill does not make a copy with replicas by itself yet', {
        details, suggestions: [`dbaas clone ${name} ${name}-drill`, `dbaas scale ${name}-drill --ha`, `dbaas drill failover ${name}-drill`, `dbaas delete ${name}-drill`],
      })
    }
    const {faults} = context.runtimes.get(instance.runtime)
    if (fault === 'partition' && faults.whyNotCut !== null) {
      throw new DbaasError('NOT_SUPPORTED', faults.whyNotCut, {details, suggestions: [`dbaas drill failover ${name} --kill`, `dbaas drill failover ${name} --hang`]})
    }
    const watch = clusters.watch(instance.id)
    if (!watch || watch.cluster.state.wanted.k === 0) {
      throw new DbaasError('INVALID_STATE', `${name} is not highly available: nobody would take over`, {details, suggestions: [`dbaas scale ${name} --ha`, 'dbaas create NAME --ha']})
    }
    if (!watch.isRunning || instance.wanted !== 'running') throw new DbaasError('INVALID_STATE', `${name} is not running`, {details, suggestions: [`dbaas start ${name}`]})
    const open = (await store.read('platform', (tx) => tx.operations.open())).find(({instanceId}) => instanceId === instance.id)
    if (open) {
      throw new DbaasError('INVALID_STATE', `${name} is being changed: ${open.kind} goes on`, {details: {...details, operation_id: open.id}, suggestions: [`dbaas operations wait ${open.id}`]})
    }
    const missing = clusters.missing(instance.id)
    if (missing !== null) throw new DbaasError('INVALID_STATE', `${name} is not whole: ${missing}`, {details, suggestions: [`dbaas status ${name}`]})
  }

  return async (principal, ref, {fault = 'kill', clone = false, plan}, idempotency) => {
    authorize(principal, 'drill', `instance/${ref}`)
    const before = await repeated(context, principal, idempotency)
    const instance = await instances.find(principal, before?.instanceId ?? ref)
    if (before) return {operation: operationView(before), instance: await instances.withNodes(instance)}
    await mustBeReady(instance, fault, clone)
    const flow = workflow(failoverDrillKind)
    if (plan) return {plan: planView({steps: flow.order, impact: 'failover', expected_downtime_ms: null, reversible: true})}
    const input: FailoverDrillInput = {instanceId: instance.id, drillId: context.newId('event'), fault}
    const operation = await store.transact({tenant: principal.tenantId}, (tx) => submit(context, tx, principal, {
      kind: failoverDrillKind, instanceId: instance.id, resource: `instance/${instance.name}`, input: {...input}, start: flow.start, deadlineSeconds: flow.deadlineSeconds,
    }, idempotency))
    context.poke()
    return {operation: operationView(operation), instance: await instances.withNodes(instance)}
  }
}
