import {DbaasError} from '../../core/errors.js'

/** `postgresql 17`, `postgresql@17` or `postgresql --version 17`. Throws USAGE when no version is named, or two are. */
export function engineVersion(engine: string, argument: string | undefined, flag: string | undefined, verb: string): {engine: string; version: string} {
  const [name = '', suffix] = engine.split('@')
  const named = [suffix, argument, flag].filter((version) => version !== undefined && version !== '')
  if (named.length === 1) return {engine: name, version: named[0] as string}
  throw new DbaasError('USAGE', named.length === 0 ? `which version of ${name}?` : `more than one version is named: ${named.join(', ')}`, {
    suggestions: [`dbaas engines ${verb} ${name} 17`, 'dbaas engines list'],
  })
}
