import assert from 'node:assert/strict'
import {chmodSync, readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {findClient, runClient} from '../../src/commands/_support/native-client.js'
import {prompt as mariadb} from '../../src/engines/mariadb/prompt.js'
import {prompt as mysql} from '../../src/engines/mysql/prompt.js'
import {prompt as postgresql} from '../../src/engines/postgresql/prompt.js'
import {accessTo, routeWith} from '../engines/connection-support.js'
import {temporaryFolder} from '../support/temporary.js'

const secret = 'p4ss#"word'

/** A client that writes down what anybody on the machine could see of it, and what it reads. */
const spy = (version: string) => `#!/bin/sh
if [ "$1" = --version ]; then echo '${version}'; exit 0; fi
tr '\\0' '\\n' < /proc/self/cmdline > "$SPY/program"
printf '%s\\n' "$0" "$@" > "$SPY/arguments"
env > "$SPY/environment"
cat "\${1#--defaults-file=}" > "$SPY/file"
readlink /proc/self/fd/3 > "$SPY/target"
exit 9
`

describe('a native client', () => {
  const folder = temporaryFolder('client')
  after(() => folder.dispose())
  const said = (name: string): string => readFileSync(join(folder.path, name), 'utf8')
  const leftInTmp = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith(`dbaas-${process.pid}-`))

  it('of MySQL and MariaDB reads its password from a file without a name, and gets it nowhere else', async function () {
    if (process.platform !== 'linux') this.skip()
    const program = join(folder.path, 'mysql')
    writeFileSync(program, spy('mysql  Ver 9.7.4 for Linux'))
    chmodSync(program, 0o755)
    process.env.SPY = folder.path
    process.env.MYSQL_UNIX_PORT = '/elsewhere.sock'
    try {
      const code = await runClient(program, mysql, accessTo({password: secret}), routeWith(), ['-e', 'select 1'])
      assert.equal(code, 9)
    } finally {
      delete process.env.SPY
      delete process.env.MYSQL_UNIX_PORT
    }
    assert.equal(said('arguments'), `${program}\n--defaults-file=/dev/fd/3\n-e\nselect 1\n`)
    assert.match(said('file'), /\npassword="p4ss#\\"word"\n/)
    assert.ok(!said('environment').includes('p4ss'))
    assert.doesNotMatch(said('environment'), /MYSQL_UNIX_PORT/)
    assert.match(said('target'), /\(deleted\)$/m)
    assert.deepEqual(leftInTmp(), [])
  })

  it('is the first of the engine\'s that is there', async () => {
    const path = process.env.PATH
    process.env.PATH = folder.path
    try {
      assert.equal(await findClient(mysql), join(folder.path, 'mysql'))
      assert.equal(await findClient(mariadb), join(folder.path, 'mysql'))
      assert.equal(await findClient(postgresql), undefined)
      writeFileSync(join(folder.path, 'mariadb'), '')
      assert.equal(await findClient(mariadb), join(folder.path, 'mysql'))
      chmodSync(join(folder.path, 'mariadb'), 0o755)
      assert.equal(await findClient(mariadb), join(folder.path, 'mariadb'))
      assert.equal(await findClient(mysql), join(folder.path, 'mysql'))
    } finally {
      process.env.PATH = path
    }
  })
})
