/** The cells of the matrix that this machine can run: every engine on every runtime. */
export interface Cell {
  readonly engine: string
  readonly runtime: string
  /** What `create` is given beside the name. */
  readonly flags: readonly string[]
  /** A parameter that needs no restart on any version, with two valid values. */
  readonly reloadable: {readonly name: string; readonly values: readonly [string, string]}
}

export const cells: readonly Cell[] = [
  {engine: 'postgresql', runtime: 'process', flags: [], reloadable: {name: 'work_mem', values: ['8MB', '16MB']}},
]
