/** How a server ended, as its container tells. */
import {formatBytes} from '../../../core/units.js'
import type {ServerEnd} from '../runtime.js'
import type {Inspected} from './containers.js'

/** What Docker writes for a time that has not been. */
const never = /^0001-/

export function endOf({State, HostConfig}: Inspected): ServerEnd {
  if (never.test(State.StartedAt)) return {exitCode: null, because: State.Error === '' ? null : State.Error}
  const limit = HostConfig.Memory ? ` than its ${formatBytes(HostConfig.Memory)}` : ''
  return {exitCode: State.ExitCode, because: State.OOMKilled ? `killed: it used more memory${limit}` : State.Error === '' ? null : State.Error}
}

/** Of a container that runs, on that network; null when it is not on it. */
export function addressOf({NetworkSettings}: Inspected, network: string): string | null {
  const endpoint = NetworkSettings.Networks[network]
  return endpoint?.IPAddress || endpoint?.GlobalIPv6Address || null
}

/** Why a server cannot serve although it lives. */
export function impairmentOf({State, NetworkSettings}: Inspected, network: string): string | null {
  if (State.Paused) return 'its container is paused'
  return NetworkSettings.Networks[network] ? null : `its container is cut off from the network ${network}`
}
