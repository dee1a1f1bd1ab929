/** For the tests of what a command line gets of an engine. */
import fc from 'fast-check'
import type {Access, Route} from '../../src/engines/prompt.js'

export const accessTo = (changes: Partial<Access> = {}): Access => ({
  host: '127.0.0.1', port: 15432, database: 'app', username: 'app', password: 'secret',
  direct: [{host: '127.0.0.1', port: 21000}, {host: '::1', port: 21001}], read_only: null, ca_certificate: 'PEM', ...changes,
})

/** A route that only remembers what it was asked to keep. */
export function routeWith(changes: Partial<Route> = {}): Route & {readonly kept: Map<string, string | Buffer>} {
  const kept = new Map<string, string | Buffer>()
  return {
    caFile: '/home/a/ca.pem', kept,
    async keep(name, content) {
      kept.set(name, content)
      return `/home/a/ca/1/${name}`
    },
    ...changes,
  }
}

const anything = fc.string({minLength: 1, maxLength: 24, unit: 'grapheme'}).filter((text) => !text.includes('\0'))
/** Words that are hard on every quoting rule there is. */
export const awkward = fc.oneof(anything, fc.stringMatching(/^[ '"\\$`%&?#@:/=;!\n]{1,8}$/))
/** The path of a URL cannot end with these: whoever reads it takes them for folders. */
export const nameInPath = awkward.filter((name) => name !== '.' && name !== '..')
