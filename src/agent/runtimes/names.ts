/** The names of the runtimes, for commands: importing this loads nothing. The registry beside it is checked against it. */
export const runtimeNames = ['process', 'docker'] as const
export type RuntimeName = (typeof runtimeNames)[number]
export const defaultRuntime: RuntimeName = 'process'
