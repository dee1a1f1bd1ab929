/** Since when things are in trouble. What comes back soon is the same trouble: what flaps would else never last, and nobody would be told. */
export interface Spells {
  /** It is in trouble at `now`: returns since when (both milliseconds since the epoch). */
  began(key: string, now: number): number
  ended(key: string, now: number): void
  /** What was is no part of what may come. */
  forget(key: string): void
}

/** `calmMs`: after so long without it, trouble is new trouble. */
export function createSpells(calmMs: number): Spells {
  const spells = new Map<string, {readonly began: number; readonly ended: number | null}>()
  return {
    began(key, now) {
      const last = spells.get(key)
      const began = last && (last.ended === null || now - last.ended < calmMs) ? last.began : now
      spells.set(key, {began, ended: null})
      return began
    },
    forget: (key) => void spells.delete(key),
    ended(key, now) {
      const last = spells.get(key)
      if (last && last.ended === null) spells.set(key, {...last, ended: now})
    },
  }
}
