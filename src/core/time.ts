import {DbaasError} from './errors.js'

/** The only way the product learns the time. Milliseconds since the epoch. */
export interface Clock {
  now(): number
}

const durationUnits: Record<string, number> = {
  ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000,
}

/** `90s`, `1h30m`, `7d`, `250ms` -> milliseconds. Throws INVALID_REQUEST. */
export function parseDuration(text: string): number {
  const clean = text.trim().toLowerCase()
  const parts = [...clean.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d|w)/g)]
  if (parts.length === 0 || parts.map((p) => p[0]).join('') !== clean) {
    throw new DbaasError('INVALID_REQUEST', `"${text}" is not a duration`, {
      details: {value: text},
      suggestions: ['write a number with a unit: 250ms, 30s, 10m, 1h, 7d, 2w'],
    })
  }
  return parts.reduce((sum, p) => sum + Number(p[1]) * (durationUnits[p[2] as string] as number), 0)
}

/** Milliseconds -> `450 ms`, `1.2 s`, `3 m 20 s`, `2 h 5 m`, `3 d 4 h`. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${seconds % 60} s`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} m`
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`
}

/** ISO 8601, or relative to `now` (`-10m`). Returns milliseconds since the epoch. Throws INVALID_REQUEST. */
export function parseTime(text: string, now: number): number {
  const clean = text.trim()
  if (clean === 'now') return now
  if (clean.startsWith('-')) return now - parseDuration(clean.slice(1))
  if (/^\d{4}-\d{2}-\d{2}/.test(clean)) {
    const at = Date.parse(clean)
    if (!Number.isNaN(at)) return at
  }
  throw new DbaasError('INVALID_REQUEST', `"${text}" is not a time`, {
    details: {value: text},
    suggestions: ['write ISO 8601 (2026-11-23T17:22:00Z) or a time ago (-10m)'],
  })
}

export const isoTime = (ms: number): string => new Date(ms).toISOString()
