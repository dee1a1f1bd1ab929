import assert from 'node:assert/strict'
import {execFileSync, spawnSync} from 'node:child_process'
import {createHash} from 'node:crypto'
import {writeFileSync} from 'node:fs'
import {join} from 'node:path'
import fc from 'fast-check'
import {connectionString} from '../../../src/commands/_support/render/connection.js'
import type {DbaasError} from '../../../src/core/errors.js'
import {prompt as mariadb} from '../../../src/engines/mariadb/prompt.js'
import {javaKeyStore} from '../../../src/engines/mysql/java-key-store.js'
import {prompt as mysql} from '../../../src/engines/mysql/prompt.js'
import {testAuthority} from '../certificates.js'
import {accessTo, awkward, nameInPath, routeWith} from '../connection-support.js'
import {temporaryFolder} from '../../support/temporary.js'

const notSupported = (words: RegExp) => (error: DbaasError) => error.code === 'NOT_SUPPORTED' && words.test(`${error.message} ${error.suggestions.join(' ')}`)

/** An option file as the clients' own code reads it (my_default): quotes taken off, then escapes. */
function parseOptions(text: string): Record<string, string> {
  const escapes: Record<string, string> = {n: '\n', t: '\t', r: '\r', b: '\b', s: ' ', '"': '"', "'": "'", '\\': '\\'}
  return Object.fromEntries(text.split('\n').filter((line) => /^[a-z]/.test(line)).map((line) => {
    const [, name = '', value = ''] = /^([\w-]+)(?:=(.*))?$/.exec(line) ?? []
    return [name, value.replace(/^"(.*)"$/, '$1').replace(/\\(.)/g, (all, c: string) => escapes[c] ?? all)]
  }))
}

for (const [name, prompt] of [['MySQL', mysql], ['MariaDB', mariadb]] as const) {
  describe(`${name} connection strings`, () => {
    it('are URIs in MySQL\'s own words', () => {
      assert.equal(prompt.uri(accessTo(), routeWith()), 'mysql://app:secret@127.0.0.1:15432/app?ssl-mode=VERIFY_IDENTITY&ssl-ca=/home/a/ca.pem')
      assert.equal(
        prompt.uri(accessTo(), routeWith({direct: true})), 'mysql://app:secret@127.0.0.1:21000,[::1]:21001/app?ssl-mode=VERIFY_IDENTITY&ssl-ca=/home/a/ca.pem',
      )
      fc.assert(fc.property(awkward, awkward, nameInPath, (username, password, database) => {
        const url = new URL(prompt.uri(accessTo({username, password, database}), routeWith({caFile: `/x/${username}`})).replace(/^mysql:/, 'http:'))
        assert.deepEqual([url.username, url.password, url.pathname.slice(1)].map(decodeURIComponent), [username, password, database])
        assert.equal(url.searchParams.get('ssl-ca'), `/x/${username}`)
      }), {numRuns: 200})
    })

    it('are refused where they could not say what was asked', async () => {
      assert.throws(() => prompt.uri(accessTo(), routeWith({readOnly: true})), notSupported(/read-only.*--format jdbc/))
      await assert.rejects(connectionString('env', prompt, accessTo(), routeWith({readOnly: true})), notSupported(/read-only/))
      await assert.rejects(connectionString('libpq', prompt, accessTo(), routeWith()), notSupported(/--format uri/))
    })

    it('are variables of its clients, and survive a shell', async () => {
      const route = routeWith()
      const variables = await prompt.environment(accessTo(), route)
      assert.deepEqual(
        [variables.MYSQL_HOST, variables.MYSQL_TCP_PORT, variables.MYSQL_USER, variables.MYSQL_PWD, variables.MYSQL_DATABASE, variables.MYSQL_HOME],
        ['127.0.0.1', '15432', 'app', 'secret', 'app', '/home/a/ca/1'],
      )
      assert.equal(route.kept.get('my.cnf'), '[client]\nuser="app"\nssl-ca="/home/a/ca.pem"\n[client-mariadb]\nssl-verify-server-cert\n[mysql]\ndatabase="app"\n')
      for (const password of fc.sample(awkward, 20)) {
        const script = `${await connectionString('env', prompt, accessTo({password}), routeWith())}\nprintf '%s' "$MYSQL_PWD"`
        assert.equal(execFileSync('sh', ['-c', script], {encoding: 'utf8'}), password)
      }
    })

    it('go to its client in a file, the password above all, in the words of the client that is there', async () => {
      const caFile = '/a "b"/c\\d.pem'
      for (const [version, verifies] of [
        ['mysql  Ver 9.7.4 for Linux on x86_64 (MySQL Community Server - GPL)', /^ssl-mode=VERIFY_IDENTITY$/m],
        ['mysql  Ver 15.1 Distrib 10.11.19-MariaDB, for debian-linux-gnu', /^ssl-verify-server-cert$/m],
        ['mariadb from 11.8.2-MariaDB, client 15.2', /^ssl-verify-server-cert$/m],
      ] as const) {
        const {secret = '', args, env} = await prompt.client.start(accessTo({password: 'p#"\\ x'}), routeWith({caFile}), {path: '/nowhere/bin/mysql', version: async () => version})
        assert.deepEqual(args('/dev/fd/3'), ['--defaults-file=/dev/fd/3'])
        assert.ok(!Object.values(env).some((value) => value.includes('p#')))
        assert.match(secret, verifies)
        const options = parseOptions(secret)
        assert.deepEqual([options.host, options.port, options.user, options.password, options.database, options['ssl-ca']], ['127.0.0.1', '15432', 'app', 'p#"\\ x', 'app', caFile])
      }
    })

    it('let a session be told from one that would stay open', () => {
      const {needsSession} = prompt.words
      for (const text of ['begin;', 'begin work;', 'START TRANSACTION; insert into t values (1);']) assert.ok(needsSession(text), text)
      for (const text of ['begin; insert into t values (1); commit;', 'start transaction; rollback;', 'create procedure p() begin select 1; end']) assert.ok(!needsSession(text), text)
    })
  })
}

describe('MySQL for Java', () => {
  it('gets a URL for Connector/J, which decodes it, with a key store that is made of the CA', async () => {
    const {ca} = await testAuthority()
    await fc.assert(fc.asyncProperty(awkward, awkward, async (username, password) => {
      const route = routeWith({readOnly: true, direct: true})
      const text = await mysql.jdbc(accessTo({username, password, ca_certificate: ca}), route)
      assert.match(text, /^jdbc:mysql:\/\/127\.0\.0\.1:21000,\[::1\]:21001\/app\?/)
      const query = new URLSearchParams(text.slice(text.indexOf('?')))
      assert.deepEqual([query.get('user'), query.get('password')], [username, password])
      assert.deepEqual(
        ['sslMode', 'trustCertificateKeyStoreUrl', 'trustCertificateKeyStoreType', 'sessionVariables'].map((key) => query.get(key)),
        ['VERIFY_IDENTITY', 'file:/home/a/ca/1/ca.jks', 'JKS', 'transaction_read_only=1'],
      )
    }), {numRuns: 100})
  })

  it('gets a key store whose whitened digest is right and which says the same each time', async () => {
    const {ca} = await testAuthority()
    const store = javaKeyStore(ca, 'changeit')
    assert.deepEqual(javaKeyStore(ca, 'changeit'), store)
    assert.deepEqual([store.readUInt32BE(0), store.readUInt32BE(4), store.readUInt32BE(8)], [0xfeedfeed, 2, 1])
    const digest = createHash('sha1').update(Buffer.from('changeit', 'utf16le').swap16()).update('Mighty Aphrodite').update(store.subarray(0, -20)).digest()
    assert.deepEqual(store.subarray(-20), digest)
  })

  it('gets a key store that Java opens', async function () {
    if (spawnSync('keytool', ['-help']).error) this.skip()
    this.timeout(60_000)
    const folder = temporaryFolder('jks')
    try {
      const file = join(folder.path, 'ca.jks')
      writeFileSync(file, javaKeyStore((await testAuthority()).ca, 'changeit'))
      const {status, stdout} = spawnSync('keytool', ['-list', '-keystore', file, '-storetype', 'JKS', '-storepass', 'changeit'], {encoding: 'utf8'})
      assert.equal(status, 0, stdout)
      assert.match(stdout, /ca-0.*trustedCertEntry/)
    } finally {
      folder.dispose()
    }
  })
})

describe('MariaDB for Java', () => {
  it('gets a URL for its own driver, which takes values as they are', async () => {
    assert.equal(
      await mariadb.jdbc(accessTo(), routeWith({caFile: '/a b/ca.pem', readOnly: true})),
      'jdbc:mariadb://127.0.0.1:15432/app?user=app&password=secret&sslMode=verify-full&serverSslCert=/a b/ca.pem&sessionVariables=tx_read_only=1',
    )
    await assert.rejects(mariadb.jdbc(accessTo(), routeWith({caFile: '/a&b/ca.pem'})), notSupported(/serverSslCert with "&"/))
  })
})
