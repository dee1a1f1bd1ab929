/**
 * What keeps a failover from losing writes, each by its name. The model check (test/core/ha) switches them off one at a time
 * and must find what then goes wrong: a safeguard that nothing misses is none, or the check is none. Nothing else passes any.
 */
export const safeguardNames = [
  /** |V| - k + 1 voters are heard, not one fewer. */
  'coverage',
  /** Only voters that confirm nothing any more are heard. */
  'revocation',
  /** The most advanced is chosen. */
  'most-advanced',
  /** Logs are compared along the recorded line, not by the bare position. */
  'line',
  /** A node whose files are being made anew is not heard. */
  'distrust',
  /** The old primary is dead, or beyond reach, before another is armed. */
  'fence',
  /** A synchronous set is in force before a node leaves recovery. */
  'arm',
  /** At most one of the new set is not of the old voters. */
  'outsiders',
  /** The old voters are kept until the new set holds the promotion. */
  'old-voters',
  /** Nobody is let in before the new set holds all that can be seen. */
  'barrier',
  /** A new voter is recorded before it may confirm. */
  'voters-before-set',
  /** The first voters are recorded after they hold everything. */
  'first-barrier',
  /** A voter that confirms no more is recorded until the others hold everything. */
  'removal-barrier',
  /** More confirmations are recorded after they are in force and hold everything. */
  'raise-barrier',
  /** Fewer confirmations are recorded before they are in force. */
  'lower-first',
  /** The set is never emptied, nor smaller than k, because replicas are away. */
  'strict',
] as const
export type Safeguard = (typeof safeguardNames)[number]
export type Safeguards = Readonly<Record<Safeguard, boolean>>

export const allSafeguards = Object.fromEntries(safeguardNames.map((name) => [name, true])) as Safeguards
