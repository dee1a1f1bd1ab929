/** What `backups schedule` sends; undefined when it only asks. */
import type {BodyOf} from '../../core/api/schemas.js'
import {parseNumber, parseSeconds} from './flags.js'

export interface ScheduleFlags {
  readonly cron?: string | undefined
  readonly keep?: string | undefined
  readonly 'keep-last'?: string | undefined
  readonly type?: string | undefined
  readonly jitter?: string | undefined
  readonly repository?: string | undefined
  readonly on?: boolean
  readonly off?: boolean
  readonly plan?: boolean
}

/** Throws USAGE, INVALID_REQUEST for what is malformed. */
export function scheduleBody(flags: ScheduleFlags): BodyOf<'schedules.set'> | undefined {
  const body: BodyOf<'schedules.set'> = {
    ...(flags.cron === undefined ? {} : {cron_expression: flags.cron}),
    ...(flags.keep === undefined ? {} : {retention_seconds: flags.keep === 'none' ? null : parseSeconds('keep', flags.keep)}),
    ...(flags['keep-last'] === undefined ? {} : {keep_last: flags['keep-last'] === 'none' ? null : parseNumber('keep-last', flags['keep-last'], {integer: true, min: 1})}),
    ...(flags.type === undefined ? {} : {backup_type: flags.type as 'full' | 'incremental'}),
    ...(flags.jitter === undefined ? {} : {jitter_seconds: parseSeconds('jitter', flags.jitter, {zero: true})}),
    ...(flags.repository === undefined ? {} : {repository: flags.repository}),
    ...(flags.on ? {enabled: true} : flags.off ? {enabled: false} : {}),
  }
  if (Object.keys(body).length === 0) return undefined
  return flags.plan ? {...body, plan: true} : body
}
