import type {ApiOperation} from '../../../core/api/schemas.js'
import {formatDuration} from '../../../core/time.js'
import type {Paint} from './paint.js'

type Step = ApiOperation['steps'][number]

const words: Record<Step['status'], string> = {
  running: '', waiting: 'waits', succeeded: '', failed: 'failed', undoing: 'is being undone', undone: 'undone',
}

const elapsed = (step: Step, now: number): string =>
  formatDuration(Math.max(0, (step.ended_at === null ? now : Date.parse(step.ended_at)) - Date.parse(step.started_at)))

/** `initialise  0.8 s  copies a prepared directory` */
export function stepText(step: Step, now: number): string {
  const word = words[step.status] === '' ? '' : ` ${words[step.status]}`
  return `${step.name}${word}  ${elapsed(step, now)}${step.because === null ? '' : `  ${step.because}`}`
}

export function stepLine(step: Step, now: number, paint: Paint): string {
  const mark = {
    running: paint.cyan('…'), waiting: paint.cyan('…'), succeeded: paint.green('✓'),
    failed: paint.red('✗'), undoing: paint.yellow('↩'), undone: paint.yellow('↩'),
  }[step.status]
  const word = words[step.status] === '' ? '' : ` ${words[step.status]}`
  const because = step.because === null ? '' : `  ${paint.dim(step.because)}`
  return `${mark} ${step.name}${word}  ${paint.dim(elapsed(step, now))}${because}`
}
