/** The steps of a workflow that starts all servers of a cluster anew, one after the other; the undo of the first is that of all. */
import type {ApiPlan} from '../../core/api/schemas.js'
import {DbaasError} from '../../core/errors.js'
import type {InstanceRecord} from '../../core/instance/instance.js'
import {next, type Outcome, type StepContext} from '../../core/workflow/workflow.js'
import type {Tx} from '../store/store.js'
import type {Roll, Rolled, RollPlan, RollStep} from './clusters.js'
import type {ServiceContext} from './context.js'

export const rollStepNames = ['roll-replicas', 'roll-primary', 'roll-others'] as const
type RollStepName = (typeof rollStepNames)[number]

/** Nodes of some size take a while to stop and to catch up. */
export const rollDeadlineSeconds = 3600

/** `then`: the workflow's next step. It makes the change the instance's own, with `rolling.settle` in the same transaction. */
export function rollSteps<Input, Then extends string>(context: ServiceContext, rollOf: (input: Input, operationId: string) => Roll, then: Then) {
  type Context = StepContext<Input, Tx>
  type Result = Promise<Outcome<RollStepName | Then>>
  const rolling = () => context.clusters.rolling
  return {
    'roll-replicas': {
      async run(step: Context): Result {
        await rolling().replicas(rollOf(step.input, step.operationId), step)
        return next('roll-primary')
      },
      undo: (step: Context): Promise<void> => rolling().back(rollOf(step.input, step.operationId), step),
    },
    'roll-primary': {
      async run(step: Context): Result {
        await rolling().primary(rollOf(step.input, step.operationId), step)
        return next('roll-others')
      },
    },
    'roll-others': {
      async run(step: Context): Result {
        await rolling().others(rollOf(step.input, step.operationId), step)
        return next(then)
      },
    },
  }
}

/** The plan of an operation that is done so: who is started anew in which order, and the gap that is to be expected. */
export function rollPlan({replicasFirst, primary: {how, from, to}, others, gapMs}: RollPlan): Omit<Partial<ApiPlan>, 'steps'> & {steps: string[]} {
  const list = (names: readonly string[]): string => names.join(', ')
  const steps = [
    'preflight',
    ...(replicasFirst.length > 0 ? [`roll-replicas: ${list(replicasFirst)}`] : []),
    `roll-primary: ${how === 'switchover' ? `switchover from ${from} to ${to}` : `restart of ${from} where it is`}`,
    ...(others.length > 0 ? [`roll-others: ${list(others)}`] : []),
    'verify',
  ]
  return {steps, impact: how === 'switchover' ? 'failover' : 'restart', expected_downtime_ms: gapMs, reversible: true}
}

/** Before anything is moved. Throws INVALID_STATE. */
export async function mustBeWhole(context: ServiceContext, {id, name}: InstanceRecord, step: RollStep): Promise<void> {
  const because = await context.clusters.rolling.whyNot(id, step)
  if (because === null) return
  throw new DbaasError('INVALID_STATE', `the servers of ${name} cannot be started anew one after the other now: ${because}`, {
    details: {instance: name}, suggestions: [`dbaas status ${name}`],
  })
}

/** What was measured; null: the change was none of several servers, or none of them was started anew for it. */
export const rolledBy = async ({clusters}: ServiceContext, roll: Roll): Promise<Rolled | null> => (clusters.owns(roll.instanceId) ? clusters.rolling.result(roll) : null)
