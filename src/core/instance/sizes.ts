import {DbaasError} from '../errors.js'
import {nearest} from '../nearest.js'
import {formatBytes} from '../units.js'

const MIB = 1024 ** 2
const GIB = 1024 ** 3

export interface InstanceSize {
  readonly name: string
  /** Cores; a fraction is a share of one. */
  readonly cpu: number
  readonly memory_bytes: number
  readonly storage_bytes: number
}

/** The five published sizes (DECISIONS.md 23). Storage is a bound, not a reservation. */
export const sizes = {
  micro: {name: 'micro', cpu: 0.5, memory_bytes: 512 * MIB, storage_bytes: 5 * GIB},
  small: {name: 'small', cpu: 1, memory_bytes: 1 * GIB, storage_bytes: 10 * GIB},
  medium: {name: 'medium', cpu: 2, memory_bytes: 4 * GIB, storage_bytes: 50 * GIB},
  large: {name: 'large', cpu: 4, memory_bytes: 16 * GIB, storage_bytes: 200 * GIB},
  xlarge: {name: 'xlarge', cpu: 8, memory_bytes: 64 * GIB, storage_bytes: 1000 * GIB},
} as const satisfies Record<string, InstanceSize>

export type SizeName = keyof typeof sizes
export const defaultSize: SizeName = 'small'

export const sizeBounds = {
  cpu: {min: 0.1, max: 256},
  memory_bytes: {min: 128 * MIB, max: 4096 * GIB},
  storage_bytes: {min: 1 * GIB, max: 64 * 1024 * GIB},
} as const

export interface SizeRequest {
  readonly size?: string | undefined
  readonly cpu?: number | undefined
  readonly memory_bytes?: number | undefined
  readonly storage_bytes?: number | undefined
}

const dimensions = ['cpu', 'memory_bytes', 'storage_bytes'] as const

/** In each dimension the larger of the two. */
export const largerOf = (a: InstanceSize, b: InstanceSize): InstanceSize => ({
  name: 'custom', cpu: Math.max(a.cpu, b.cpu), memory_bytes: Math.max(a.memory_bytes, b.memory_bytes), storage_bytes: Math.max(a.storage_bytes, b.storage_bytes),
})

export const sameSize = (a: InstanceSize, b: InstanceSize): boolean => dimensions.every((key) => a[key] === b[key])

/**
 * The size asked for: a named one, with any dimension replaced (its name is then `custom`). Throws INVALID_SIZE.
 */
export function resolveSize(request: SizeRequest, base: InstanceSize = sizes[defaultSize]): InstanceSize {
  let start = base
  if (request.size !== undefined) {
    if (!Object.hasOwn(sizes, request.size)) {
      const near = nearest(request.size, Object.keys(sizes))
      throw new DbaasError('INVALID_SIZE', `there is no size "${request.size}"`, {
        details: {size: request.size, sizes: Object.keys(sizes).join(', ')},
        suggestions: [near ? `--size ${near}` : `--size ${defaultSize}`, `the sizes are ${Object.keys(sizes).join(', ')}`],
      })
    }
    start = sizes[request.size as SizeName]
  }
  const size: InstanceSize = {
    name: start.name,
    cpu: request.cpu ?? start.cpu,
    memory_bytes: request.memory_bytes ?? start.memory_bytes,
    storage_bytes: request.storage_bytes ?? start.storage_bytes,
  }
  for (const key of dimensions) {
    const {min, max} = sizeBounds[key]
    const value = size[key]
    if (!Number.isFinite(value) || value < min || value > max) {
      const show = (n: number) => (key === 'cpu' ? String(n) : formatBytes(n))
      const label = key.replace('_bytes', '')
      throw new DbaasError('INVALID_SIZE', `${label} of ${show(value)} is out of range: ${show(min)} to ${show(max)}`, {
        details: {[key]: String(value), min: String(min), max: String(max)},
        suggestions: [`--${label} ${show(value < min ? min : max).replace(' ', '')}`],
      })
    }
  }
  const published = Object.values(sizes).find((s) => sameSize(s, size))
  return {...size, name: published?.name ?? 'custom'}
}
