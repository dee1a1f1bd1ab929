import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import fc from 'fast-check'
import {connectionString} from '../../../src/commands/_support/render/connection.js'
import {prompt} from '../../../src/engines/postgresql/prompt.js'
import {accessTo, awkward, routeWith} from '../connection-support.js'

/** libpq's own rules for `name = 'value'` (its manual, 32.1.1.1). */
function parseKeywords(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/(\w+)=(?:'((?:[^'\\]|\\[\s\S])*)'|((?:[^\s'\\])+))/g)]
    .map(([, name, quoted, bare]) => [name, quoted === undefined ? bare : quoted.replace(/\\([\s\S])/g, '$1')]))
}

describe('PostgreSQL connection strings', () => {
  it('are what drivers and libpq expect', async () => {
    assert.equal(prompt.uri(accessTo(), routeWith()), 'postgresql://app:secret@127.0.0.1:15432/app?sslmode=verify-full&sslrootcert=/home/a/ca.pem')
    assert.equal(
      prompt.uri(accessTo(), routeWith({direct: true})),
      'postgresql://app:secret@127.0.0.1:21000,[::1]:21001/app?sslmode=verify-full&sslrootcert=/home/a/ca.pem&target_session_attrs=read-write',
    )
    const readOnly = routeWith({readOnly: true, direct: true})
    assert.match(prompt.uri(accessTo(), readOnly), /options=.*&target_session_attrs=prefer-standby$/)
    assert.match(await prompt.jdbc(accessTo(), routeWith({direct: true})), /127\.0\.0\.1:21000,\[::1\]:21001.*targetServerType=primary/)
    assert.match(await prompt.jdbc(accessTo(), readOnly), /targetServerType=preferSecondary/)
    assert.match(prompt.keywords?.(accessTo(), routeWith({direct: true})) ?? '', /target_session_attrs=read-write/)
    assert.equal((await prompt.environment(accessTo(), routeWith({direct: true}))).PGTARGETSESSIONATTRS, 'read-write')
    // one server is the one that is meant
    assert.doesNotMatch(prompt.uri(accessTo({direct: [{host: '::1', port: 1}]}), routeWith({direct: true})), /target_session_attrs/)
    assert.match(prompt.uri(accessTo(), routeWith({readOnly: true})), /options=-c%20default_transaction_read_only%3Don/)
    assert.equal(prompt.keywords?.(accessTo(), routeWith()), 'host=127.0.0.1 port=15432 dbname=app user=app password=secret sslmode=verify-full sslrootcert=/home/a/ca.pem')
    assert.equal((await prompt.environment(accessTo(), routeWith({direct: true}))).PGPORT, '21000,21001')
  })

  it('lead to a replica where reading is enough and there is one', async () => {
    const access = accessTo({read_only: {host: '127.0.0.1', port: 16000}})
    assert.match(prompt.uri(access, routeWith({readOnly: true})), /@127\.0\.0\.1:16000\/app\?/)
    assert.match(prompt.uri(access, routeWith()), /@127\.0\.0\.1:15432\/app\?/)
    assert.equal((await prompt.environment(access, routeWith({readOnly: true}))).PGPORT, '16000')
    assert.match(prompt.uri(accessTo(), routeWith({readOnly: true})), /@127\.0\.0\.1:15432\//)
  })

  it('say the same user, password and database in every form, whatever these are', () =>
    fc.assert(fc.asyncProperty(awkward, awkward, awkward, async (username, password, database) => {
      const asked = accessTo({username, password, database})
      const url = new URL(prompt.uri(asked, routeWith({caFile: `/x/${username}`})).replace(/^postgresql:/, 'http:'))
      assert.deepEqual([url.username, url.password, url.pathname.slice(1)].map(decodeURIComponent), [username, password, database])
      assert.equal(url.searchParams.get('sslrootcert'), `/x/${username}`)
      const jdbc = new URL((await prompt.jdbc(asked, routeWith())).replace(/^jdbc:postgresql:/, 'http:'))
      assert.deepEqual([jdbc.searchParams.get('user'), jdbc.searchParams.get('password')], [username, password])
      const words = parseKeywords(prompt.keywords?.(asked, routeWith()) ?? '')
      assert.deepEqual([words.user, words.password, words.dbname], [username, password, database])
    }), {numRuns: 300}))

  it('survive a shell', async () => {
    const values = fc.sample(awkward, 60)
    for (let i = 0; i + 1 < values.length; i += 2) {
      const asked = accessTo({password: values[i] as string, database: values[i + 1] as string})
      const script = `${await connectionString('env', prompt, asked, routeWith())}\nprintf '%s\\0%s' "$PGPASSWORD" "$PGDATABASE"`
      assert.deepEqual(execFileSync('sh', ['-c', script], {encoding: 'utf8'}).split('\0'), [asked.password, asked.database])
    }
  })

  it('let a session be told from one that would stay open', () => {
    const {needsSession} = prompt.words
    assert.ok(needsSession('begin;'))
    assert.ok(needsSession('START TRANSACTION; insert into t values (1);'))
    assert.ok(!needsSession('begin; insert into t values (1); commit;'))
    assert.ok(!needsSession('do $$ begin null; end $$;'))
  })
})
