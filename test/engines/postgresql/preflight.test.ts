import assert from 'node:assert/strict'
import {sizes} from '../../../src/core/instance/sizes.js'
import type {ParameterValues} from '../../../src/core/instance/instance.js'
import type {Host} from '../../../src/engines/host.js'
import {explainFailure} from '../../../src/engines/postgresql/errors.js'
import {postgresql} from '../../../src/engines/postgresql/index.js'
import {problems} from '../../../src/engines/postgresql/preflight.js'
import {majorsToTest, postgresqlSubject} from './subject.js'
import type {PostgresqlSubject} from './subject.js'

for (const {name, source} of majorsToTest()) {
  describe(`what the binary of ${name} says of a configuration`, function () {
    this.timeout(60_000)
    let subject: PostgresqlSubject
    let host: Host
    const ask = (values: ParameterValues) => problems(host, values, subject.version)
    const base = () => postgresql.config.fromSize(sizes.small, subject.version)

    before(async () => {
      subject = await postgresqlSubject(source)
      host = await subject.place('empty')
    })
    after(async () => {
      await subject?.close()
    })

    it('finds a combination that no value alone is wrong in', async () => {
      const [few] = await ask({max_connections: '3'})
      assert.deepEqual(few?.parameter, 'max_connections')
      assert.match(String(few?.because), /superuser_reserved_connections.*must be less than/)
      const [many] = await ask({max_connections: '200000', max_worker_processes: '100000'})
      assert.ok(many)
    })

    it('finds all of several wrong values in one run, each by its name', async () => {
      const found = await ask({
        ...base(),
        timezone: 'Mars/Olympus',
        datestyle: 'nonsense',
        work_mem: '1kB',
        max_connections: '20',
      })
      assert.deepEqual(found.map(({parameter}) => parameter).sort(), ['datestyle', 'timezone', 'work_mem'])
      assert.match(String(found.find(({parameter}) => parameter === 'work_mem')?.because), /outside the valid range/)
    })

    it('finds the value that the server refuses without a word', async () => {
      const [silent] = await ask({...base(), timezone_abbreviations: ''})
      assert.equal(silent?.parameter, 'timezone_abbreviations')
    })

    it('judges parameters of the libraries that are loaded, whose wrong values would only be warned of', async () => {
      const [wrong] = await ask({...base(), 'pg_stat_statements.track': 'sideways'})
      assert.equal(wrong?.parameter, 'pg_stat_statements.track')
      assert.deepEqual(await ask({...base(), 'pg_stat_statements.track': 'all'}), [])
    })

    it('is not misled by the very values that say what is logged', async () => {
      for (const mute of [
        {log_min_messages: 'panic'},
        {log_error_verbosity: 'terse'},
        {log_error_verbosity: 'verbose'},
      ]) {
        assert.deepEqual(await ask({...base(), ...mute}), [])
        assert.equal((await ask({...base(), ...mute, timezone: 'Mars/Olympus'}))[0]?.parameter, 'timezone')
      }
      assert.equal((await ask({log_min_messages: 'loud'}))[0]?.parameter, 'log_min_messages')
    })

    it('takes values with quotes, backslashes and spaces for what they are', async () => {
      assert.deepEqual(
        await ask({...base(), search_path: '"a \'b\' \\ c", public', log_statement_sample_rate: '0.5'}),
        [],
      )
    })

    it('leaves nothing behind, and needs no data', async () => {
      await ask({...base(), timezone: 'Mars/Olympus'})
      await postgresql.config.memoryNeeded(host, base(), subject.version)
      assert.deepEqual(await host.list(host.paths.tmp), [])
      assert.deepEqual(await host.list(host.paths.data), [])
    })
  })
}

describe("what the end of PostgreSQL's log says", () => {
  const at = '2026-11-23 19:41:14.211 UTC [47] '
  const cases: [string, string, string][] = [
    [
      'a taken port',
      `${at}LOG:  could not bind IPv4 address "127.0.0.1": Address already in use\n` +
        `${at}HINT:  Is another postmaster running?\n${at}FATAL:  could not create any TCP/IP sockets`,
      'PORT_IN_USE',
    ],
    [
      'too little memory',
      `${at}FATAL:  could not map anonymous shared memory: Cannot allocate memory`,
      'INSUFFICIENT_MEMORY',
    ],
    ['a full disk', `${at}PANIC:  could not write to file "pg_wal/xlogtemp.29": No space left on device`, 'DISK_FULL'],
    [
      'a full disk while the pid file is made',
      `${at}FATAL:  could not write lock file "postmaster.pid": No space left on device`,
      'DISK_FULL',
    ],
    [
      'a bad value',
      `${at}LOG:  invalid value for parameter "work_mem": "1"\n` +
        `${at}FATAL:  configuration file "/c/postgresql.conf" contains errors`,
      'INVALID_PARAMETER_VALUE',
    ],
    [
      'a bad combination',
      'postgres: superuser_reserved_connections (3) must be less than max_connections (3)',
      'INVALID_PARAMETER_VALUE',
    ],
    [
      'a running twin',
      `${at}FATAL:  lock file "postmaster.pid" already exists\n${at}HINT:  Is another postmaster (PID 7) running?`,
      'SERVER_START_FAILED',
    ],
    ['wrong permissions', `${at}FATAL:  data directory "/d" has invalid permissions`, 'SERVER_START_FAILED'],
    [
      'a missing library',
      'postgres: error while loading shared libraries: libicui18n.so.60: cannot open shared object file',
      'SERVER_START_FAILED',
    ],
    ['a user nobody knows', 'initdb: could not look up effective user ID 4321: user does not exist', 'NOT_SUPPORTED'],
    ['foreign data', `${at}FATAL:  database files are incompatible with server`, 'SERVER_START_FAILED'],
  ]
  it('does not blame a parameter that was merely changed before', () => {
    const error = explainFailure(
      `${at}LOG:  parameter "work_mem" changed to "8MB"\n` +
        `${at}LOG:  parameter "port" cannot be changed without restarting the server\n` +
        `${at}FATAL:  could not open file "x"`,
    )
    assert.equal(error.code, 'SERVER_START_FAILED')
    assert.match(error.message, /could not open file/)
  })
  for (const [what, log, code] of cases) {
    it(`tells ${what}, with a suggestion`, () => {
      const error = explainFailure(log)
      assert.equal(error.code, code, error.message)
      assert.ok(error.suggestions.length > 0)
      assert.ok(!error.message.includes('undefined'))
    })
  }
})
