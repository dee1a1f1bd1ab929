/** What must be there before anything is made (DECISIONS.md 23): memory needed now, CPU the host has, some disk. */
import {DbaasError} from '../../../core/errors.js'
import type {InstanceSize} from '../../../core/instance/sizes.js'
import {formatBytes} from '../../../core/units.js'
import type {SiteFacts} from '../../runtimes/runtime.js'

const MIB = 1024 ** 2

/** A new data directory with its first log segments, and room to start. */
export const diskNeededBytes = 256 * MIB
/** Backends, caches and the server's own memory beside what it allocates at start. */
const serverOverheadBytes = 48 * MIB

/** Throws INSUFFICIENT_CPU, INSUFFICIENT_MEMORY, INSUFFICIENT_DISK. `startBytes`: what the server allocates when it starts. */
export function admit(size: InstanceSize, startBytes: number, facts: SiteFacts): void {
  if (size.cpu > facts.cpus) {
    throw new DbaasError('INSUFFICIENT_CPU', `${size.cpu} CPUs are asked for, and this site has ${facts.cpus}`, {
      details: {cpu: String(size.cpu), available: String(facts.cpus)}, suggestions: [`--cpu ${facts.cpus}`, 'choose a smaller --size'],
    })
  }
  const memory = startBytes + serverOverheadBytes
  if (memory > facts.memoryAvailableBytes) {
    throw new DbaasError('INSUFFICIENT_MEMORY', `the server needs ${formatBytes(memory)} of memory to start, and ${formatBytes(facts.memoryAvailableBytes)} are free`, {
      details: {needed_bytes: String(memory), available_bytes: String(facts.memoryAvailableBytes)},
      suggestions: ['choose a smaller --size or --memory', 'dbaas list', 'stop an instance that is not needed'],
    })
  }
  if (diskNeededBytes > facts.diskFreeBytes) {
    throw new DbaasError('INSUFFICIENT_DISK', `a new database needs ${formatBytes(diskNeededBytes)} of disk, and ${formatBytes(facts.diskFreeBytes)} are free`, {
      details: {needed_bytes: String(diskNeededBytes), available_bytes: String(facts.diskFreeBytes)},
      suggestions: ['free some space', 'set DBAAS_HOME to a folder on a larger disk', 'dbaas doctor'],
    })
  }
}
