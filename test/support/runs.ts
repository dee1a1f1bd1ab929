/**
 * How often a property is tried on real servers. DECISIONS.md 26: `npm test` runs what fits the time of CI, `npm run
 * test:full` the counts that the issues ask for.
 */
export const full = process.env.DBAAS_TEST_FULL === '1'
export const realRuns = (inCi: number, inFull = 100): number => (full ? inFull : inCi)
