/** Parameters from memory, CPU and storage, by published formulas (pgtune, timescaledb-tune). */
import type {ParameterValues} from '../../core/instance/instance.js'
import type {InstanceSize} from '../../core/instance/sizes.js'
import {can} from './versions.js'

const MIB = 1024 ** 2
const GIB = 1024 ** 3

export const megabytes = (bytes: number): string => `${Math.floor(bytes / MIB)}MB`
const clamp = (value: number, min: number, max: number): number => Math.min(max, Math.max(min, value))

/** Whole cores; a share of one is one. */
export const cores = (size: InstanceSize): number => Math.max(1, Math.ceil(size.cpu))

/** A quarter of memory (pgtune); from 512 MiB on at least the default of 128 MB, which leaves most for the rest. */
export function sharedBuffers(size: InstanceSize): number {
  const quarter = size.memory_bytes / 4
  return size.memory_bytes >= 512 * MIB ? Math.max(quarter, 128 * MIB) : Math.max(quarter, 16 * MIB)
}

/** `wanted`, but at most one for 10 MB of memory: each is a process. */
export const connections = (size: InstanceSize, wanted: number): number =>
  clamp(Math.floor(size.memory_bytes / (10 * MIB)), 12, wanted)

const defaultConnections = (size: InstanceSize): number => (size.memory_bytes >= 16 * GIB ? 200 : 100)

const workers = (size: InstanceSize): number => Math.max(8, cores(size))

/**
 * pgtune: what shared_buffers leaves, shared by all connections and workers, three nodes of a plan each; for
 * workloads of few large queries half of it (`divisor` 2). At least 4 MB.
 */
export const workMemory = (size: InstanceSize, maxConnections: number, divisor = 1): string => {
  const bytes = (size.memory_bytes - sharedBuffers(size)) / ((maxConnections + workers(size)) * 3) / divisor
  return `${Math.floor(clamp(bytes, 4 * MIB, 2 * GIB - 1024) / 1024)}kB`
}

/** M/16 (M/8 for analytics), at most 2 GB, which is also what autovacuum could use before 17. */
export const maintenanceMemory = (size: InstanceSize, divisor = 16): number =>
  clamp(size.memory_bytes / divisor, 16 * MIB, 2 * GIB - MIB)

/** Bounds of the write-ahead log: what the workload wants, at most a fifth of the disk. */
export function walSizes(size: InstanceSize, wantedMax: number): ParameterValues {
  const max = clamp(size.storage_bytes / 5, 128 * MIB, wantedMax)
  return {max_wal_size: megabytes(max), min_wal_size: megabytes(Math.max(80 * MIB, max / 4))}
}

const walBuffers = (size: InstanceSize): number => clamp(sharedBuffers(size) * 0.03, 32 * 1024, 16 * MIB)

function autovacuumWorkers(size: InstanceSize): ParameterValues {
  if (cores(size) >= 32) return {autovacuum_max_workers: '5'}
  if (cores(size) >= 16) return {autovacuum_max_workers: '4'}
  return {}
}

function locks(size: InstanceSize): number {
  if (size.memory_bytes <= GIB) return 64
  if (size.memory_bytes < 8 * GIB) return 128
  if (size.memory_bytes < 16 * GIB) return 256
  return size.memory_bytes < 32 * GIB ? 512 : 1024
}

/** Every value is valid for the server of `version`, for every size that core allows. */
export function fromSize(size: InstanceSize, version: string): ParameterValues {
  const maxConnections = connections(size, defaultConnections(size))
  const maintenance = maintenanceMemory(size)
  const parallel = Math.min(4, Math.ceil(cores(size) / 2))
  return {
    max_connections: String(maxConnections),
    shared_buffers: megabytes(sharedBuffers(size)),
    effective_cache_size: megabytes(size.memory_bytes * 0.75),
    maintenance_work_mem: megabytes(maintenance),
    ...(maintenance >= 2 * GIB - MIB ? {autovacuum_work_mem: megabytes(maintenance)} : {}),
    work_mem: workMemory(size, maxConnections),
    wal_buffers: `${Math.floor(walBuffers(size) / 1024)}kB`,
    ...walSizes(size, 4 * GIB),
    checkpoint_completion_target: '0.9',
    random_page_cost: '1.1',
    max_worker_processes: String(workers(size)),
    max_parallel_workers: String(cores(size)),
    max_parallel_workers_per_gather: String(parallel),
    max_parallel_maintenance_workers: String(parallel),
    ...autovacuumWorkers(size),
    max_locks_per_transaction: String(locks(size)),
    jit: 'off',
    // pglz everywhere: the builds that npm has are without lz4
    wal_compression: can(version, 'wal-compression-method') ? 'pglz' : 'on',
    ...(can(version, 'portable-io-concurrency') ? {effective_io_concurrency: '200'} : {}),
    ...(can(version, 'io-method') ? {io_workers: String(clamp(Math.ceil(cores(size) / 4), 3, 32))} : {}),
    // our own: what a forgotten session, a dead replica or an unseen slow statement would otherwise cost
    idle_in_transaction_session_timeout: '5min',
    log_lock_waits: 'on',
    track_io_timing: 'on',
    log_min_duration_statement: '1s',
    log_autovacuum_min_duration: '10s',
    max_slot_wal_keep_size: megabytes(size.storage_bytes / 5),
  }
}

/**
 * Log that a node keeps for those that may come back: so much even for whom no slot is kept, and so that a rewind finds where histories
 * parted. A tenth of the disk, at most 512 MB.
 */
export const logKept = (size: InstanceSize): ParameterValues => ({wal_keep_size: megabytes(Math.min(512 * MIB, size.storage_bytes / 10))})
