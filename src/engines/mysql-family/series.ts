/** Versions of servers whose series is their first two numbers: `9.7.4` is of the series `9.7`. */

/** `9.7.4` -> `9.7`; what is the beginning of a series stays one (`9`). */
export const seriesOf = (version: string): string => version.split('.').slice(0, 2).join('.')

/** Whether a version, full or the beginning of one, is of a series in the list, or means one of them (`9`). */
export const isOfSeries = (version: string, series: readonly string[]): boolean =>
  /^\d+(\.\d+){0,2}$/.test(version) &&
  series.some((known) => known === seriesOf(version) || known.startsWith(`${version}.`))

/** Whether the version is of that series or of a later one. Of a beginning (`9`) the newest is meant. */
export function reaches(version: string, series: string): boolean {
  const [major = 0, minor = Infinity] = seriesOf(version).split('.').map(Number)
  const [leastMajor = 0, leastMinor = 0] = series.split('.').map(Number)
  return major > leastMajor || (major === leastMajor && minor >= leastMinor)
}
