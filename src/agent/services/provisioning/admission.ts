/** What must be there before anything is made (DECISIONS.md 23): memory needed now, CPU the host has, some disk. */
import {DbaasError} from '../../../core/errors.js'
import type {InstanceSize} from '../../../core/instance/sizes.js'
import {formatBytes} from '../../../core/units.js'
import type {SiteFacts} from '../../runtimes/runtime.js'

const MIB = 1024 ** 2

/** A new data directory with its first log segments, and room to start. */
export const diskNeededBytes = 256 * MIB
/** Backends, caches and the server's own memory beside what it allocates at start. */
export const serverOverheadBytes = 48 * MIB

/**
 * Throws INSUFFICIENT_CPU, INSUFFICIENT_MEMORY, INSUFFICIENT_DISK. `startBytes`: what the server allocates when it
 * starts; `asked`: the parameters that were asked for, and may be why it is so much.
 */
export function admit(size: InstanceSize, startBytes: number, facts: SiteFacts, asked: readonly string[] = []): void {
  admitCpu(size, facts)
  admitMemory(startBytes + serverOverheadBytes, facts, asked.length > 0 ? `lower ${asked.join(', ')}` : 'choose a smaller --size or --memory')
  if (diskNeededBytes > facts.diskFreeBytes) {
    throw new DbaasError('INSUFFICIENT_DISK', `a new database needs ${formatBytes(diskNeededBytes)} of disk, and ${formatBytes(facts.diskFreeBytes)} are free`, {
      details: {needed_bytes: String(diskNeededBytes), available_bytes: String(facts.diskFreeBytes)},
      suggestions: ['free some space', 'set DBAAS_HOME to a folder on a larger disk', 'dbaas doctor'],
    })
  }
}

/** Throws INSUFFICIENT_CPU. */
export function admitCpu(size: InstanceSize, facts: SiteFacts): void {
  if (size.cpu > facts.cpus) {
    throw new DbaasError('INSUFFICIENT_CPU', `${size.cpu} CPUs are asked for, and this site has ${facts.cpus}`, {
      details: {cpu: String(size.cpu), available: String(facts.cpus)}, suggestions: [`--cpu ${facts.cpus}`, 'choose a smaller --size'],
    })
  }
}

/** Throws INSUFFICIENT_MEMORY. `bytes`: what is needed beside what is in use now; `instead`: what to ask for instead. */
export function admitMemory(bytes: number, facts: SiteFacts, instead: string): void {
  if (bytes <= facts.memoryAvailableBytes) return
  throw new DbaasError('INSUFFICIENT_MEMORY', `the server needs ${formatBytes(bytes)} of memory to start, and ${formatBytes(facts.memoryAvailableBytes)} are free`, {
    details: {needed_bytes: String(bytes), available_bytes: String(facts.memoryAvailableBytes)},
    suggestions: [instead, 'dbaas list', 'stop an instance that is not needed'],
  })
}
