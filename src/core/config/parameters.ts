/**
 * A parameter of a database server, as the server itself describes it. The catalogue of a version is read from a
 * real server of that version (DECISIONS.md 15), never typed by hand.
 */
export interface ParameterDefinition {
  readonly name: string
  readonly type: 'bool' | 'integer' | 'real' | 'enum' | 'string'
  /** The base unit of a number: `kB`, `8kB`, `ms`, `min`, `B`, … */
  readonly unit: string | null
  readonly min: string | null
  readonly max: string | null
  /** A number must be a multiple of it; absent where any in the range will do. */
  readonly step?: string
  readonly values: readonly string[] | null
  readonly default: string | null
  readonly category: string
  readonly description: string
  /** What a change needs: nothing but a reload, or a restart of the server; `fixed` cannot be changed at all. */
  readonly requires: 'reload' | 'restart' | 'fixed'
  /** Set by the agent: PARAMETER_MANAGED. The sentence says why. */
  readonly managed: string | null
}

export type Catalogue = ReadonlyMap<string, ParameterDefinition>

/** A parameter as it is on a running server. */
export interface ParameterReading {
  readonly value: string
  readonly unit: string | null
  /** `user`, `template`, `size`, `managed`, `default`. */
  readonly source: string
  readonly default: string | null
  readonly requires: 'reload' | 'restart' | 'fixed'
  /** True when a changed value waits for a restart. */
  readonly pendingRestart: boolean
}
