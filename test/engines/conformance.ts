/**
 * What every engine must do, whatever it is: one suite, run against real servers. A new engine adds a name, a place to
 * run in, and the few words of its dialect.
 */
import assert from 'node:assert/strict'
import {setTimeout as sleep} from 'node:timers/promises'
import {effectiveParameters} from '../../src/core/instance/instance.js'
import {sizes} from '../../src/core/instance/sizes.js'
import type {ParameterValues} from '../../src/core/instance/instance.js'
import {DbaasError} from '../../src/core/errors.js'
import type {ErrorCode} from '../../src/core/errors.js'
import type {AdminCredentials, ClientCredentials, Engine, ServerCommand, TlsFiles} from '../../src/engines/engine.js'
import type {Host} from '../../src/engines/host.js'

/** A server that was started, as much of it as the suite needs. */
export interface StartedServer {
  log(): string
  /** Signals the main process and waits for its end. */
  stop(signal: NodeJS.Signals): Promise<void>
}

export interface Dialect {
  /** Runs for at least a minute, if it is let. */
  readonly slow: string
  /** Answers `count` rows of one whole number. */
  rows(count: number): string
  /** One row: small integer 1, big integer 2^60, float 1.5, true (as the database has it), text, null. */
  readonly kinds: {readonly statement: string; readonly true: true | 1}
  readonly insertTwo: {readonly make: string; readonly insert: string; readonly count: string; readonly command: string}
  readonly reloadable: {readonly name: string; readonly values: readonly [string, string]}
  readonly needsRestart: {readonly name: string; readonly value: string}
  /** A whole number with bounds, that a reload can change. */
  readonly bounded: {readonly name: string; readonly tooMuch: string}
  /** What a server will not start with (some take what is out of bounds for the bound). */
  readonly refusedAtStart: {readonly name: string; readonly value: string}
  /** A text parameter, and a value that only the server can find wrong. */
  readonly judgedByServer: {readonly name: string; readonly wrong: string; readonly right: string}
}

export interface EngineSubject {
  readonly engine: Engine
  readonly version: string
  readonly dialect: Dialect
  place(name: string): Promise<Host>
  start(host: Host, command: ServerCommand): Promise<StartedServer>
  tls(): Promise<TlsFiles>
  admin(): Promise<AdminCredentials>
  /** The name in the server's certificate, and who signed it. */
  readonly server: {readonly name: string; readonly ca: string}
  close(): Promise<void>
}

const password = 'a password that ends in § and ’'

const rejectsWith =
  (code: ErrorCode, pattern?: RegExp) =>
  (error: unknown): true => {
    assert.ok(error instanceof DbaasError, `a DbaasError, not ${String(error)}`)
    assert.equal(error.code, code, error.message)
    if (pattern) assert.match(error.message, pattern)
    return true
  }

export async function untilReady(
  engine: Engine,
  host: Host,
  admin: AdminCredentials,
  server: StartedServer,
): Promise<void> {
  const until = Date.now() + 30_000
  for (;;) {
    const not = await engine.lifecycle.whyNotReady(host, admin)
    if (not === undefined) return
    if (Date.now() > until) throw new Error(`never ready: ${not}\n${server.log()}`)
    await sleep(10)
  }
}

/** @param needs called first in the suite: may skip it, where the machine has no such server */
export function engineConformance(name: string, makeSubject: () => Promise<EngineSubject>, needs?: () => void): void {
  describe(`the engine ${name}`, function () {
    this.timeout(120_000)
    needs?.()
    let subject: EngineSubject
    let engine: Engine
    let host: Host
    let admin: AdminCredentials
    let tls: TlsFiles
    let server: StartedServer
    let client: ClientCredentials
    let base: ParameterValues

    const settings = (values: ParameterValues) => ({version: subject.version, instanceName: 'demo', values, tls})
    const ask = (statement: string, options: {timeoutMs?: number; maxRows?: number; signal?: AbortSignal} = {}) =>
      engine.access.query(client, statement, {timeoutMs: 20_000, maxRows: 100, ...options})

    before(async () => {
      subject = await makeSubject()
      engine = subject.engine
      admin = await subject.admin()
      tls = await subject.tls()
      base = engine.config.fromSize(sizes.micro, subject.version)
      host = await subject.place('main')
      await engine.lifecycle.initialise(host, subject.version)
      await engine.config.write(host, settings(base))
      server = await subject.start(host, engine.lifecycle.command(host, subject.version))
      await untilReady(engine, host, admin, server)
      const app = {database: engine.defaultDatabase, username: engine.defaultUsername, password}
      await engine.access.grantApplication(host, admin, app)
      client = {...host.address(), ...app, ca: subject.server.ca, serverName: subject.server.name}
    })
    after(async () => {
      await subject?.close()
    })

    it('knows versions for every platform, newest first, with a checksum each, and its default among them', () => {
      const platforms = ['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64']
      const isRegistered = platforms.some((platform) => engine.versions.known(platform).length > 0)
      for (const platform of platforms) {
        const known = engine.versions.known(platform)
        // a registry has it for every platform, or there is none
        assert.equal(known.length > 0, isRegistered, platform)
        assert.equal(known.some(({version}) => version === engine.versions.default), isRegistered)
        assert.equal(known.filter(({bundled}) => bundled).length <= 1, true)
        for (const {
          version,
          package: {integrity},
        } of known) {
          assert.match(integrity, /^sha512-[A-Za-z0-9+/]{86}==$/)
          assert.ok(engine.versions.supports(version), version)
        }
        const numbers = known.map(({version}) => version.split('.').map(Number) as [number, number])
        assert.deepEqual(
          numbers,
          [...numbers].sort((a, b) => b[0] - a[0] || b[1] - a[1]),
        )
      }
      assert.deepEqual(engine.versions.known('plan9-mips'), [])
    })

    it('supports its default, the version under test and the beginnings of it, and nothing that only looks like one', () => {
      const {versions, images} = engine
      const beginnings = subject.version.split('.').map((_, at, parts) => parts.slice(0, at + 1).join('.'))
      for (const version of [versions.default, ...beginnings]) {
        assert.ok(versions.supports(version), version)
        assert.match(`${images.repository}:${images.tag(version)}`, /^[a-z]+:[\w.]+$/)
      }
      for (const version of ['', '1', '0.1', '99', '99.9', `${subject.version}.`, `${subject.version}-rc1`, 'latest', '*'])
        assert.equal(versions.supports(version), false, version)
      assert.equal(versions.has(subject.version, 'no such capability'), false)
      assert.equal(versions.has(subject.version, 'toString'), false)
    })

    it('reads its version from what its program prints', async () => {
      const printed = await host.exec([`${host.paths.bin}/${engine.versions.serverProgram}`, '--version'])
      assert.equal(engine.versions.parseVersion(printed.stdout), subject.version)
      assert.equal(engine.versions.parseVersion('something else 1.2'), undefined)
    })

    it('says when a data directory is finished, and not before', async () => {
      assert.equal(await engine.lifecycle.isInitialised(host), true)
      const empty = await subject.place('empty')
      assert.equal(await engine.lifecycle.isInitialised(empty), false)
    })

    it('writes its configuration once, and again only what changed', async () => {
      assert.equal(await engine.config.write(host, settings(base)), false)
      const renewed = {...tls, ...(await subject.tls())}
      assert.equal(await engine.config.write(host, {...settings(base), tls: renewed}), true)
      assert.equal(await engine.config.write(host, settings(base)), true)
      assert.equal(await engine.config.write(host, settings(base)), false)
    })

    it('is reached by its application over TLS 1.3, and by nobody with a wrong password or a wrong name', async () => {
      assert.deepEqual(await engine.access.probe(client, 5000), {tlsVersion: 'TLSv1.3'})
      await assert.rejects(
        engine.access.probe({...client, password: 'wrong'}, 5000),
        rejectsWith('DATABASE_UNAVAILABLE'),
      )
      await assert.rejects(
        engine.access.probe({...client, serverName: 'another'}, 5000),
        rejectsWith('DATABASE_UNAVAILABLE'),
      )
      await assert.rejects(engine.access.probe({...client, port: 1}, 5000), rejectsWith('DATABASE_UNAVAILABLE'))
    })

    it('grants twice as well as once, and the last password counts', async () => {
      const {database, username} = client
      await engine.access.grantApplication(host, admin, {database, username, password: 'another one'})
      await assert.rejects(engine.access.probe(client, 5000), rejectsWith('DATABASE_UNAVAILABLE'))
      await engine.access.grantApplication(host, admin, {database, username, password})
      await engine.access.probe(client, 5000)
      assert.ok(!server.log().includes(password))
    })

    it("answers in JSON's own kinds where they fit, and in text where they would bend", async () => {
      const {kinds} = subject.dialect
      const result = await ask(kinds.statement)
      assert.deepEqual(result.rows, [[1, '1152921504606846976', 1.5, kinds.true, 'text', null]])
      assert.equal(result.columns.length, 6)
      for (const {type} of result.columns) assert.notEqual(type, 'unknown')
      assert.equal(result.command, 'SELECT')
    })

    it("runs several statements and answers with the last one's result", async () => {
      const {make, insert, count, command} = subject.dialect.insertTwo
      await ask(make)
      const inserted = await ask(insert)
      assert.deepEqual([inserted.command, inserted.rowCount, inserted.rows], [command, 2, []])
      const counted = await ask(`${insert}; ${count}`)
      assert.deepEqual([counted.command, counted.rows.length], ['SELECT', 1])
      assert.equal(Number(counted.rows[0]?.[0]), 4)
      assert.deepEqual((await ask(`${count}; ${insert}`)).columns, [])
    })

    it('stops at the rows asked for, whatever there is', async () => {
      const exact = await ask(subject.dialect.rows(100))
      assert.deepEqual([exact.rows.length, exact.truncated], [100, false])
      const more = await ask(subject.dialect.rows(50_000_000), {maxRows: 10})
      assert.deepEqual([more.rows.length, more.truncated, more.command], [10, true, 'SELECT'])
    })

    it('cancels what takes too long, and what nobody waits for, and serves on', async () => {
      const began = Date.now()
      await assert.rejects(ask(subject.dialect.slow, {timeoutMs: 300}), rejectsWith('SQL_ERROR', /longer than 300 ms/))
      await assert.rejects(
        ask(subject.dialect.slow, {signal: AbortSignal.timeout(300)}),
        rejectsWith('SQL_ERROR', /nobody waits/),
      )
      assert.ok(Date.now() - began < 5000)
      assert.deepEqual((await ask(subject.dialect.rows(1))).rows.length, 1)
    })

    it("tells a statement's error as the database does", async () => {
      await assert.rejects(ask('select no_such_column'), (error: unknown) => {
        rejectsWith('SQL_ERROR')(error)
        assert.ok((error as DbaasError).details['sqlstate'])
        return true
      })
      await assert.rejects(ask('this is no SQL'), rejectsWith('SQL_ERROR'))
    })

    it('describes every parameter of its server, and accepts its own sizes and templates', async () => {
      const catalogue = await engine.config.readCatalogue(host, admin)
      assert.ok(catalogue.size > 100)
      for (const [key, definition] of catalogue) {
        assert.equal(key, definition.name)
        assert.ok(definition.description !== '', key)
      }
      for (const size of Object.values(sizes)) {
        const layers = [{}, ...Object.values(engine.config.templates).map((template) => template.parameters(size))]
        for (const template of layers) {
          const values = effectiveParameters({size: engine.config.fromSize(size, subject.version), template, user: {}})
          for (const [key, value] of Object.entries(values)) {
            const definition = catalogue.get(key)
            assert.ok(definition, key)
            assert.equal(definition.managed, null, key)
            const because = engine.config.whyNotValid(definition, value)
            assert.ok(because === undefined || because === 'ask', `${size.name}: ${key} = ${value}: ${because}`)
          }
          assert.equal(
            await engine.config.preflight(host, values, subject.version),
            undefined,
            `${size.name} ${JSON.stringify(values)}`,
          )
        }
      }
    })

    it("says what is wrong with a value: the range, or the server's own words", async () => {
      const catalogue = await engine.config.readCatalogue(host, admin)
      const {bounded, judgedByServer} = subject.dialect
      const definition = catalogue.get(bounded.name)
      assert.ok(definition)
      assert.match(String(engine.config.whyNotValid(definition, bounded.tooMuch)), /out of range: .+ to .+/)
      const text = catalogue.get(judgedByServer.name)
      assert.ok(text)
      assert.equal(engine.config.whyNotValid(text, judgedByServer.wrong), 'ask')
      const refusal = await engine.config.preflight(
        host,
        {...base, [judgedByServer.name]: judgedByServer.wrong},
        subject.version,
      )
      assert.equal(refusal?.parameter, judgedByServer.name)
      assert.ok(refusal?.because.includes(judgedByServer.wrong), refusal?.because)
      assert.equal(
        await engine.config.preflight(host, {...base, [judgedByServer.name]: judgedByServer.right}, subject.version),
        undefined,
      )
    })

    it('knows how much memory it takes, where its binary can say', async () => {
      const small = await engine.config.memoryNeeded(host, base, subject.version)
      const large = await engine.config.memoryNeeded(
        host,
        engine.config.fromSize(sizes.large, subject.version),
        subject.version,
      )
      if (small === undefined || large === undefined) return
      assert.ok(small > 32 * 1024 ** 2 && small < sizes.micro.memory_bytes)
      assert.ok(large > small)
    })

    it('applies a changed value by a reload, reads it back, and refuses a faulty file as a whole', async () => {
      const {
        name: parameter,
        values: [first, second],
      } = subject.dialect.reloadable
      const sources = new Map([[parameter, 'user']])
      const definition = (await engine.config.readCatalogue(host, admin)).get(parameter)
      assert.ok(definition)
      for (const value of [first, second]) {
        await engine.config.write(host, settings({...base, [parameter]: value}))
        await engine.lifecycle.reload(host, admin)
        const reading = (await engine.config.read(host, admin, sources)).get(parameter)
        assert.ok(reading && engine.config.sameValue(definition, value, reading.value), JSON.stringify(reading))
        assert.deepEqual([reading.source, reading.pendingRestart, reading.requires], ['user', false, 'reload'])
        await engine.config.verify(host, admin, {...base, [parameter]: value})
      }
      const {bounded} = subject.dialect
      await engine.config.write(host, settings({...base, [parameter]: first, [bounded.name]: bounded.tooMuch}))
      await assert.rejects(engine.lifecycle.reload(host, admin), (error: unknown) => {
        rejectsWith('INVALID_PARAMETER_VALUE')(error)
        assert.equal((error as DbaasError).details['parameter'], bounded.name)
        return true
      })
      await engine.config.verify(host, admin, {[parameter]: second})
      await assert.rejects(
        engine.config.verify(host, admin, {[parameter]: first}),
        rejectsWith('INVALID_PARAMETER_VALUE'),
      )
      await engine.config.write(host, settings(base))
      await engine.lifecycle.reload(host, admin)
    })

    it('says which values wait for a restart, and has them after one', async () => {
      const {name: parameter, value} = subject.dialect.needsRestart
      const changed = {...base, [parameter]: value}
      await engine.config.write(host, settings(changed))
      await engine.lifecycle.reload(host, admin)
      const waiting = (await engine.config.read(host, admin, new Map())).get(parameter)
      assert.deepEqual([waiting?.pendingRestart, waiting?.requires], [true, 'restart'])
      await engine.lifecycle.checkpoint(host, admin)
      await server.stop((engine.lifecycle.stopSignals[0] as {signal: NodeJS.Signals}).signal)
      server = await subject.start(host, engine.lifecycle.command(host, subject.version))
      await untilReady(engine, host, admin, server)
      await engine.config.verify(host, admin, changed)
    })

    it('keeps what was committed when it is killed, and starts again over what the dead server left', async () => {
      await ask(subject.dialect.insertTwo.insert)
      const before = (await ask(subject.dialect.insertTwo.count)).rows
      await server.stop('SIGKILL')
      await engine.lifecycle.clearStale(host)
      await engine.lifecycle.clearStale(host)
      server = await subject.start(host, engine.lifecycle.command(host, subject.version))
      await untilReady(engine, host, admin, server)
      assert.deepEqual((await ask(subject.dialect.insertTwo.count)).rows, before)
    })

    it('obeys each of its stop signals', async () => {
      for (const {signal} of engine.lifecycle.stopSignals) {
        await server.stop(signal)
        assert.match(String(await engine.lifecycle.whyNotReady(host, admin)), /./)
        server = await subject.start(host, engine.lifecycle.command(host, subject.version))
        await untilReady(engine, host, admin, server)
      }
    })

    it('has a time in its log lines that is now', () => {
      const times = server
        .log()
        .split('\n')
        .flatMap((line) => engine.logTime(line) ?? [])
      assert.ok(times.length > 0, server.log())
      for (const time of times) assert.ok(Math.abs(time - Date.now()) < 3_600_000)
      assert.equal(engine.logTime('\tcontinued'), undefined)
    })

    it('explains a start that failed', async () => {
      const twin = await subject.place('twin')
      await engine.lifecycle.initialise(twin, subject.version)
      const taken: Host = {...twin, listen: host.listen}
      await engine.config.write(taken, settings(base))
      const second = await subject.start(taken, engine.lifecycle.command(taken, subject.version))
      await second.stop('SIGCONT')
      assert.equal(engine.lifecycle.explainFailure(second.log()).code, 'PORT_IN_USE', second.log())

      const {refusedAtStart: refused} = subject.dialect
      await engine.config.write(twin, settings({...base, [refused.name]: refused.value}))
      const third = await subject.start(twin, engine.lifecycle.command(twin, subject.version))
      await third.stop('SIGCONT')
      const refusal = engine.lifecycle.explainFailure(third.log())
      assert.deepEqual([refusal.code, refusal.details['parameter']], ['INVALID_PARAMETER_VALUE', refused.name])
      assert.equal(engine.lifecycle.explainFailure('').code, 'SERVER_START_FAILED')
    })
  })
}
