/**
 * The CLI's entry: oclif finds and runs the command, and whatever it throws before a command could catch it (an
 * unknown command, above all) leaves in the same form as every other error.
 */
import {run} from '@oclif/core/run'
import {readFileSync} from 'node:fs'
import {userInfo} from 'node:os'
import {join} from 'node:path'
import {asksForJson, report, toDbaasError} from './failure.js'

/** package.json, as far as oclif reads it. */
interface Manifest {
  readonly name: string
  readonly version: string
  oclif: {plugins?: readonly string[]; commands?: unknown; hooks?: unknown}
}

/** Reading the plugins' manifests costs ~10 ms, and only these can need them. */
function needsPlugins(argv: readonly string[]): boolean {
  const first = argv.find((arg) => !arg.startsWith('-'))
  return first === undefined || first === 'help' || first === 'autocomplete'
}

export interface MainOptions {
  /** The package's folder. */
  readonly root: string
  /** Where commands and hooks are when not built: bin/dev.js. */
  readonly source?: {readonly commands: unknown; readonly hooks: unknown}
}

export async function main(argv: readonly string[], {root, source}: MainOptions): Promise<void> {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest
  if (!needsPlugins(argv)) delete manifest.oclif.plugins
  if (source) manifest.oclif = {...manifest.oclif, ...source}
  nameShell()
  try {
    await run([...argv], {root, pjson: manifest as never, ...(source ? {ignoreManifest: true} : {})})
  } catch (error) {
    const {code, oclif, reported} = error as {code?: string; oclif?: {exit?: number}; reported?: boolean}
    if (reported) return
    // `this.exit(n)` of a plugin is not a failure to report.
    if (code === 'EEXIT') process.exitCode = oclif?.exit ?? 0
    else await report(toDbaasError(error), asksForJson(argv))
  }
}

/** oclif asks the user database for it where SHELL says nothing, and fails in a container that runs as a user whom that does not know. */
function nameShell(): void {
  if (process.env.SHELL !== undefined) return
  try {
    userInfo()
  } catch {
    process.env.SHELL = '/bin/sh'
  }
}
