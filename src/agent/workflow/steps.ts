import type {StepRecord, StepStatus} from '../../core/workflow/operation.js'

/** The list of steps as people see it: one entry a run of a step, in the order they ran. */
export const openStep = (steps: readonly StepRecord[], name: string, now: number): StepRecord[] =>
  [...steps, {name, status: 'running', startedAt: now, endedAt: null, because: null}]

export const closeStep = (steps: readonly StepRecord[], status: StepStatus, now: number, because: string | null): StepRecord[] =>
  steps.map((step, i) => (i === steps.length - 1 ? {...step, status, endedAt: now, because} : step))

/** Names still to be undone, the last one run first; a step that ran twice is undone once. */
export function stepsToUndo(steps: readonly StepRecord[]): string[] {
  const names: string[] = []
  for (const step of [...steps].reverse()) {
    if (step.status !== 'undone' && !names.includes(step.name)) names.push(step.name)
  }
  return names
}
