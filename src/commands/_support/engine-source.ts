/** What `--from` names, as the agent must be told it. */
import {homedir} from 'node:os'
import {join, resolve} from 'node:path'
import type {Location} from '../../agent/client/locate.js'
import {defaultRuntime} from '../../agent/runtimes/names.js'
import {DbaasError} from '../../core/errors.js'

/** URLs and names of images as they are; a path of this machine absolute, where the agent is on it. Throws USAGE. */
export function resolveFrom(from: string, runtime: string | undefined, {context, target}: Location): string {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(from) || (runtime ?? defaultRuntime) !== defaultRuntime) return from
  if ('url' in target) {
    throw new DbaasError('USAGE', `${from} is a path of this machine, and the agent of the context ${context} is on another`, {
      details: {from, context}, suggestions: ['--from https://…, which that agent downloads itself', '--context local'],
    })
  }
  // a shell leaves it alone in --from=~/…
  return resolve(/^~(?=\/|$)/.test(from) ? join(homedir(), from.slice(1)) : from)
}
