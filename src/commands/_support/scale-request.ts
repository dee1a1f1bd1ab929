/** What `scale` sends. */
import type {BodyOf} from '../../core/api/schemas.js'
import {DbaasError} from '../../core/errors.js'
import {parseBytes} from '../../core/units.js'
import {parseNumber, refuseNotYet} from './flags.js'

export interface ScaleFlags {
  readonly size?: string | undefined
  readonly cpu?: string | undefined
  readonly memory?: string | undefined
  readonly storage?: string | undefined
  readonly plan: boolean
  readonly ha?: boolean
  readonly replicas?: string | undefined
}

/** Throws USAGE, INVALID_SIZE for what is malformed, NOT_SUPPORTED for what is not there yet; what is possible, the agent judges. */
export function scaleBody(name: string, flags: ScaleFlags): BodyOf<'instances.scale'> {
  refuseNotYet('scale', flags)
  const {size, cpu, memory, storage, plan} = flags
  if ([size, cpu, memory, storage].every((value) => value === undefined)) {
    throw new DbaasError('USAGE', 'nothing to scale', {suggestions: [`dbaas scale ${name} --size medium`, `dbaas scale ${name} --memory 4GiB`]})
  }
  return {
    ...(size === undefined ? {} : {size}),
    ...(cpu === undefined ? {} : {cpu: parseNumber('cpu', cpu)}),
    ...(memory === undefined ? {} : {memory_bytes: parseBytes(memory)}),
    ...(storage === undefined ? {} : {storage_bytes: parseBytes(storage)}),
    ...(plan ? {plan} : {}),
  }
}
