/** The site's master key of repositories, wherever it comes from; `signal` ends a program that it is asked of. */
import {masterKeyFromCommand, masterKeyFromEnvironment, masterKeyFromFile, type MasterKey} from '../repositories/vault/master-key.js'
import type {KeySource} from './archiver.js'

export function masterKeyOf(source: KeySource, environment: Readonly<Record<string, string | undefined>>, signal?: AbortSignal): MasterKey {
  if (source.kind === 'file') return masterKeyFromFile(source.path)
  return source.kind === 'environment' ? masterKeyFromEnvironment(source.variable, environment) : masterKeyFromCommand(source.argv, undefined, signal)
}
