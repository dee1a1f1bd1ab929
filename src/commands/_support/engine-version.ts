import {DbaasError} from '../../core/errors.js'

/** `postgresql 17`, `postgresql@17`, `postgresql --version 17`, or none. Throws USAGE when two versions are named. */
export function namedVersion(engine: string, argument: string | undefined, flag: string | undefined): {engine: string; version: string | undefined} {
  const [name = '', suffix] = engine.split('@')
  const named = [suffix, argument, flag].filter((version) => version !== undefined && version !== '')
  if (named.length <= 1) return {engine: name, version: named[0]}
  throw new DbaasError('USAGE', `more than one version is named: ${named.join(', ')}`, {suggestions: ['name it once', 'dbaas engines list']})
}

/** The same; throws USAGE when none is named. */
export function engineVersion(engine: string, argument: string | undefined, flag: string | undefined, verb: string): {engine: string; version: string} {
  const {engine: name, version} = namedVersion(engine, argument, flag)
  if (version !== undefined) return {engine: name, version}
  throw new DbaasError('USAGE', `which version of ${name}?`, {suggestions: [`dbaas engines ${verb} ${name} 17`, 'dbaas engines list']})
}
