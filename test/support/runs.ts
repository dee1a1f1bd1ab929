import fc from 'fast-check'

/**
 * How often a property is tried on real servers. DECISIONS.md 26: `npm test` runs what fits the time of CI, `npm run
 * test:full` the counts that the issues ask for.
 */
export const full = process.env.DBAAS_TEST_FULL === '1'
export const realRuns = (inCi: number, inFull = 100): number => (full ? inFull : inCi)

/** How often each fault befalls a cluster. */
export const faultRounds = realRuns(1, 5)

/**
 * For properties whose draws meet what nobody wrote down (rules of a server that its catalogue does not tell): `npm test` draws
 * the same every time, so that a rule not yet known stops nobody's work; `test:full` and DBAAS_TEST_RUNS draw anew, and look for it.
 */
export const draws: {readonly seed?: number} = full || process.env.DBAAS_TEST_RUNS ? {} : {seed: 20_261_124}

/** `inCi` of them in their order, the same every time; all of them in `test:full`. */
export function sampled<T>(all: readonly T[], inCi: number, seed = 1): readonly T[] {
  if (full) return all
  const chosen = fc.sample(fc.shuffledSubarray(all.map((_, i) => i), {minLength: Math.min(inCi, all.length), maxLength: inCi}), {seed, numRuns: 1})[0] ?? []
  return [...chosen].sort((a, b) => a - b).map((i) => all[i] as T)
}
