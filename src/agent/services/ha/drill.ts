/** What may be rehearsed, and where. */
import {authorize} from '../../../core/access/principal.js'
import {DbaasError} from '../../../core/errors.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import {datedName} from '../../../core/instance/names.js'
import type {AnyWorkflow} from '../../workflow/engine.js'
import type {HighAvailabilityApi} from '../contract.js'
import {operationView, planView} from '../operation-view.js'
import {repeated, submit} from '../submit.js'
import type {DrillCopy, FailoverDrillInput, FailoverDrillParts} from './drill.workflow.js'
import {failoverDrillKind} from './drill.workflow.js'
import {replicationOf} from './members.js'
import type {ChangesOptions} from './changes.js'

/** Copying takes as long as there is data. */
const copyDeadlineSeconds = 24 * 3600

export function createDrill({context, clusters, copies, instances, workflow}: Pick<FailoverDrillParts, 'context' | 'clusters' | 'copies'> & Pick<ChangesOptions, 'instances'> & {
  workflow(kind: string): AnyWorkflow
}): HighAvailabilityApi['drill'] {
  const {store} = context

  /** Throws NOT_SUPPORTED, INVALID_STATE. */
  async function mustBeReady(instance: InstanceRecord, fault: FailoverDrillInput['fault'], clone: boolean): Promise<void> {
    const {name} = instance
    const details = {instance: name}
    replicationOf(context.engines.get(instance.engine))
    const {faults} = context.runtimes.get(instance.runtime)
    if (fault === 'partition' && faults.whyNotCut !== null) {
      throw new DbaasError('NOT_SUPPORTED', faults.whyNotCut, {details, suggestions: [`dbaas drill failover ${name} --kill`, `dbaas drill failover ${name} --hang`]})
    }
    const watch = clusters.watch(instance.id)
    if (!watch || watch.cluster.state.wanted.k === 0) {
      throw new DbaasError('INVALID_STATE', `${name} is not highly available: nobody would take over`, {details, suggestions: [`dbaas scale ${name} --ha`, 'dbaas create NAME --ha']})
    }
    // the copy is another one, and nobody needs to keep off this one meanwhile
    if (clone) return
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
    const copy: DrillCopy | null = clone ? {
      id: context.newId('instance'), name: datedName(instance.name, 'drill', context.clock.now()), servers: Object.keys(clusters.watch(instance.id)?.cluster.state.nodes ?? {}).length,
    } : null
    if (copy) await copies.check(instance, copy)
    const flow = workflow(failoverDrillKind)
    const steps = copy ? flow.order : flow.order.slice(flow.order.indexOf(flow.start))
    if (plan) return {plan: planView({steps, impact: copy ? 'none' : 'failover', expected_downtime_ms: copy ? 0 : null, reversible: true})}
    const input: FailoverDrillInput = {instanceId: instance.id, drillId: context.newId('event'), fault, copy}
    const operation = await store.transact({tenant: principal.tenantId}, (tx) => submit(context, tx, principal, {
      kind: failoverDrillKind, instanceId: instance.id, resource: `instance/${instance.name}`, input: {...input, copy: copy && {...copy}}, start: steps[0] as string,
      ...(copy ? {lane: 'backup', deadlineSeconds: copyDeadlineSeconds} : {deadlineSeconds: flow.deadlineSeconds}),
    }, idempotency))
    context.poke()
    return {operation: operationView(operation), instance: await instances.withNodes(instance)}
  }
}
