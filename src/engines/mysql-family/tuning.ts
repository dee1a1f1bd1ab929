/**
 * Parameters from memory, CPU and storage, as far as MySQL and MariaDB have them in common. Formulas are those of
 * `innodb_dedicated_server` (MySQL 8.4 Reference Manual, 17.8.12) and mysqltuner, bounded so that a server with full
 * caches and busy connections stays within the memory of its size.
 */
import type {InstanceSize} from '../../core/instance/sizes.js'

export const MIB = 1024 ** 2
export const GIB = 1024 ** 3

/** Whole mebibytes, as the file has them. */
export const mebibytes = (bytes: number): string => `${Math.floor(bytes / MIB)}M`
/** Whole kibibytes. */
export const kibibytes = (bytes: number): string => `${Math.floor(bytes / 1024)}K`
export const clamp = (value: number, min: number, max: number): number => Math.min(max, Math.max(min, value))

/** Whole cores; a share of one is one. */
export const cores = (size: InstanceSize): number => Math.max(1, Math.ceil(size.cpu))

/** `wanted`, but at most one for 10 MiB of memory: each is a thread with buffers of its own. */
export const connections = (size: InstanceSize, wanted: number): number =>
  clamp(Math.floor(size.memory_bytes / (10 * MIB)), 12, wanted)

/** 151 is what the servers have by themselves. */
export const defaultConnections = (size: InstanceSize): number => (size.memory_bytes >= 16 * GIB ? 500 : 151)

/**
 * `innodb_dedicated_server`: 128 MiB below 1 GiB, half up to 4 GiB, three quarters above; never more than what is left of
 * memory beside `reserved`, the server's own and its connections', and at least 16 MiB.
 */
export function bufferPool(size: InstanceSize, reserved: number): number {
  const memory = size.memory_bytes
  const wanted = memory < GIB ? 128 * MIB : memory <= 4 * GIB ? memory / 2 : memory * 0.75
  return Math.max(16 * MIB, Math.min(wanted, memory - reserved))
}

/**
 * `innodb_dedicated_server` 8.4: half a gibibyte for each core, at most 16; mysqltuner: at least 100 MiB, 1 GiB above 8
 * GiB of memory. At most a twentieth of the disk. Whole mebibytes.
 */
export function redoCapacity(size: InstanceSize, wanted?: number): number {
  const byCores = (cores(size) / 2) * GIB
  const floor = size.memory_bytes > 8 * GIB ? GIB : 100 * MIB
  const bytes = Math.min(clamp(wanted ?? byCores, floor, 16 * GIB), size.storage_bytes / 20)
  return Math.floor(bytes / MIB) * MIB
}

/** Memory of one temporary table; both engines bound it by the smaller of two parameters. */
export const temporaryTable = (size: InstanceSize): number => clamp(Math.floor(size.memory_bytes / 64 / MIB) * MIB, 2 * MIB, 64 * MIB)

/** One in a thousand of the disk's size each, in steps of 4 kB. */
export const binlogFile = (size: InstanceSize): number => clamp(Math.floor(size.storage_bytes / 100 / MIB) * MIB, 16 * MIB, GIB)

/**
 * Files of the binary log are kept for one to seven days, a day for each 10 GiB of disk: MySQL, and MariaDB before 11.4,
 * bound them by nothing else.
 */
export const binlogSeconds = (size: InstanceSize): number =>
  86_400 * clamp(Math.floor(size.storage_bytes / (10 * GIB)), 1, 7)

/** What a solid-state disk does at a share of the machine. */
export const ioCapacity = (size: InstanceSize): number => clamp(1000 * cores(size), 1000, 10_000)

/** Open tables: what the servers have by themselves from 4 GiB on; a table costs some 20 kB, more with partitions. */
export const openTables = (size: InstanceSize, most: number): number =>
  clamp(Math.floor((size.memory_bytes / (4 * GIB)) * most), 200, most)

/** Threads kept for connections to come: 8 and a hundredth of the connections (the servers' own formula). */
export const threadCache = (maxConnections: number): number => 8 + Math.floor(maxConnections / 100)
