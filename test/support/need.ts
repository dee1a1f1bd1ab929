/**
 * What a suite needs and a machine may lack. A developer's `npm test` says so and counts the suite as skipped; in CI,
 * where scripts/site makes all of it, the same is a failure.
 */
import {existsSync, realpathSync} from 'node:fs'
import {join} from 'node:path'

/** Where scripts/site puts what it makes. */
export const testSite = process.env.DBAAS_TEST_SITE ?? '/opt/dbaas-test'

/** `lacking` says what is not there and how to get it, or nothing. To be called first in a `describe`. */
export function needOrSkip(lacking: () => Promise<string | undefined> | string | undefined): void {
  before(async function () {
    this.timeout(60_000)
    const said = await lacking()
    if (said === undefined) return
    if (process.env.CI === 'true') throw new Error(`CI must have it: ${said}`)
    process.stdout.write(`      SKIPPED: ${said}\n`)
    this.skip()
  })
}

/** A file of the site by its real name (a link's target says the version); as asked where it does not exist. */
export function madeBySite(...names: string[]): string {
  const path = join(testSite, ...names)
  return existsSync(path) ? realpathSync(path) : path
}
