import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import fc from 'fast-check'
import {connectionUri, jdbcUrl, libpqEnvironment, libpqKeywords, shellExports} from '../../src/commands/_support/render/connection.js'
import type {ApiCredentials} from '../../src/core/api/schemas.js'

const credentials = (changes: Partial<ApiCredentials> = {}): ApiCredentials => ({
  engine: 'postgresql', scheme: 'postgresql', host: '127.0.0.1', port: 15432, database: 'app', username: 'app', password: 'secret',
  direct: [{host: '127.0.0.1', port: 21000}, {host: '::1', port: 21001}], ca_file: '/home/a/ca.pem', ca_certificate: 'PEM', tls_server_name: 'localhost',
  ...changes,
})
const caFile = '/home/a/ca.pem'
const anything = fc.string({minLength: 1, maxLength: 24, unit: 'grapheme'}).filter((text) => !text.includes('\0'))
/** Words that are hard on every quoting rule there is. */
const awkward = fc.oneof(anything, fc.stringMatching(/^[ '"\\$`%&?#@:/=;!\n]{1,8}$/))

/** libpq's own rules for `name = 'value'` (its manual, 32.1.1.1). */
function parseKeywords(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/(\w+)=(?:'((?:[^'\\]|\\[\s\S])*)'|((?:[^\s'\\])+))/g)]
    .map(([, name, quoted, bare]) => [name, quoted === undefined ? bare : quoted.replace(/\\([\s\S])/g, '$1')]))
}

describe('connection strings', () => {
  it('are what drivers and libpq expect', () => {
    assert.equal(connectionUri(credentials(), {caFile}), 'postgresql://app:secret@127.0.0.1:15432/app?sslmode=verify-full&sslrootcert=/home/a/ca.pem')
    assert.equal(
      connectionUri(credentials(), {caFile, direct: true}),
      'postgresql://app:secret@127.0.0.1:21000,[::1]:21001/app?sslmode=verify-full&sslrootcert=/home/a/ca.pem&target_session_attrs=read-write',
    )
    assert.match(connectionUri(credentials(), {caFile, readOnly: true}), /options=-c%20default_transaction_read_only%3Don/)
    assert.equal(libpqKeywords(credentials(), {caFile}), 'host=127.0.0.1 port=15432 dbname=app user=app password=secret sslmode=verify-full sslrootcert=/home/a/ca.pem')
    assert.equal(libpqEnvironment(credentials(), {caFile, direct: true}).PGPORT, '21000,21001')
  })

  it('say the same user, password and database in every form, whatever these are', () => {
    fc.assert(fc.property(awkward, awkward, awkward, (username, password, database) => {
      const asked = credentials({username, password, database})
      const url = new URL(connectionUri(asked, {caFile: `/x/${username}`}).replace(/^postgresql:/, 'http:'))
      assert.deepEqual([url.username, url.password, url.pathname.slice(1)].map(decodeURIComponent), [username, password, database])
      assert.equal(url.searchParams.get('sslrootcert'), `/x/${username}`)
      const jdbc = new URL(jdbcUrl(asked, {caFile}).replace(/^jdbc:postgresql:/, 'http:'))
      assert.deepEqual([jdbc.searchParams.get('user'), jdbc.searchParams.get('password')], [username, password])
      const words = parseKeywords(libpqKeywords(asked, {caFile}))
      assert.deepEqual([words.user, words.password, words.dbname], [username, password, database])
    }), {numRuns: 300})
  })

  it('survive a shell', () => {
    const values = fc.sample(awkward, 60)
    for (let i = 0; i + 1 < values.length; i += 2) {
      const asked = credentials({password: values[i] as string, database: values[i + 1] as string})
      const script = `${shellExports(asked, {caFile})}\nprintf '%s\\0%s' "$PGPASSWORD" "$PGDATABASE"`
      assert.deepEqual(execFileSync('sh', ['-c', script], {encoding: 'utf8'}).split('\0'), [asked.password, asked.database])
    }
  })
})
