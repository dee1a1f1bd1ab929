import assert from 'node:assert/strict'
import {setTimeout as sleep} from 'node:timers/promises'
import fc from 'fast-check'
import type {ParameterDefinition} from '../../../src/core/config/parameters.js'
import type {ParameterValues} from '../../../src/core/instance/instance.js'
import {sizes} from '../../../src/core/instance/sizes.js'
import type {AdminCredentials, TlsFiles} from '../../../src/engines/engine.js'
import type {Host} from '../../../src/engines/host.js'
import {connectAdmin} from '../../../src/engines/postgresql/client.js'
import type {Connection} from '../../../src/engines/postgresql/client.js'
import {postgresql} from '../../../src/engines/postgresql/index.js'
import {problems} from '../../../src/engines/postgresql/preflight.js'
import {can} from '../../../src/engines/postgresql/versions.js'
import {untilReady} from '../conformance.js'
import {settingOf} from './settings.arbitrary.js'
import {realRuns} from '../../support/runs.js'
import type {Setting} from './settings.arbitrary.js'
import {majorsToTest, postgresqlSubject} from './subject.js'
import type {PostgresqlSubject} from './subject.js'

const {config, lifecycle} = postgresql

/** Runs of the property, and settings in each: at least 1,000 settings in all. */
const runs = Number(process.env['DBAAS_TEST_RUNS'] ?? realRuns(100, 300))
const settingsARun = 14

for (const {name, source} of majorsToTest()) {
  describe(`the validator of ${name}`, function () {
    this.timeout(600_000)
    let subject: PostgresqlSubject
    let admin: AdminCredentials
    let tls: TlsFiles
    let host: Host
    let spare: Host
    let session: Connection
    let free: ParameterDefinition[]
    const base = (): ParameterValues => config.fromSize(sizes.micro, subject.version)
    const settings = (values: ParameterValues) => ({version: subject.version, instanceName: 'demo', values, tls})

    before(async () => {
      subject = await postgresqlSubject(source)
      admin = await subject.admin()
      tls = await subject.tls()
      host = await subject.place('judge')
      await lifecycle.initialise(host, subject.version)
      await config.write(host, settings(base()))
      const command = lifecycle.command(host, subject.version)
      // the oracle is the server's own ALTER SYSTEM, which instances have switched off
      const alter = can(subject.version, 'allow-alter-system') ? ['-c', 'allow_alter_system=on'] : []
      const server = await subject.start(host, {...command, argv: [...command.argv, ...alter]})
      await untilReady(postgresql, host, admin, server)
      session = await connectAdmin(host, admin)
      free = [...(await config.readCatalogue(host, admin)).values()].filter(
        ({managed, requires}) => managed === null && requires !== 'fixed',
      )
      spare = await subject.place('spare')
      await lifecycle.initialise(spare, subject.version)
    })
    after(async () => {
      await session?.close()
      await subject?.close()
    })

    /** The server's verdict: undefined, or its words. It keeps the value for its next start, which never comes. */
    async function serverSays({definition, value}: Setting): Promise<string | undefined> {
      const {client} = session
      try {
        await client.query(
          `alter system set ${definition.name
            .split('.')
            .map((part) => client.escapeIdentifier(part))
            .join('.')} = ${client.escapeLiteral(value)}`,
        )
        return undefined
      } catch (error) {
        return (error as Error).message
      }
    }

    /** The other way in: a real start with the value in the configuration file. True if the server comes up. */
    async function starts({definition, value}: Setting): Promise<boolean> {
      await config.write(spare, settings({...base(), [definition.name]: value}))
      const server = await subject.start(spare, lifecycle.command(spare, subject.version))
      let ended = false
      void server.ended.then(() => {
        ended = true
      })
      while (!ended && !server.log().includes('ready to accept connections')) await sleep(5)
      const up = !ended
      await server.stop('SIGQUIT')
      await lifecycle.clearStale(spare)
      return up && !/WARNING: .*parameter "/.test(server.log())
    }

    /** What the binary rejects of values that only it can judge; asked together, and again without what it rejected. */
    async function rejected(asked: readonly Setting[]): Promise<Map<string, string>> {
      const out = new Map<string, string>()
      for (let rest = asked; rest.length > 0; ) {
        const values = Object.fromEntries(rest.map(({definition, value}) => [definition.name, value]))
        const found = await problems(host, {...base(), ...values}, subject.version)
        if (found.length === 0) break
        for (const {parameter, because} of found)
          if (parameter !== null && values[parameter] !== undefined) out.set(parameter, because)
        if (found.every(({parameter}) => parameter === null || !out.has(parameter))) {
          // a combination with what the size gives: whose fault it is shows when they are asked one by one
          for (const {definition, value} of rest) {
            const [alone] = await problems(host, {...base(), [definition.name]: value}, subject.version)
            if (alone) out.set(definition.name, alone.because)
          }
          break
        }
        rest = rest.filter(({definition}) => !out.has(definition.name))
      }
      return out
    }

    /** Settings that must not be judged together: one on means the others off. */
    const exclusive = /^log_(statement|parser|planner|executor)_stats$/

    // Feature: enterprise-dbaas-platform, Property 4: Engine-Specific Validation
    // Iterations: 100 runs of 14 random settings in CI (1,400), against a real server; DBAAS_TEST_RUNS for more
    it('accepts a setting if and only if the server does', async () => {
      const tally = {settings: 0, accepted: 0, asked: 0, arbitrated: 0}
      const some = fc.constantFrom(...free).chain(settingOf)
      const batch = fc.uniqueArray(some, {
        minLength: settingsARun,
        maxLength: settingsARun,
        selector: ({definition}) => (exclusive.test(definition.name) ? 'log_…_stats' : definition.name),
      })
      await fc.assert(
        fc.asyncProperty(batch, async (drawn) => {
          const verdicts = drawn.map((setting) => ({
            setting,
            verdict: config.whyNotValid(setting.definition, setting.value),
          }))
          const asked = verdicts.filter(({verdict}) => verdict === 'ask').map(({setting}) => setting)
          const refused = await rejected(asked)
          for (const {setting, verdict} of verdicts) {
            const ours = verdict === 'ask' ? refused.get(setting.definition.name) : verdict
            const theirs = await serverSays(setting)
            tally.settings += 1
            if (theirs === undefined) tally.accepted += 1
            if (verdict === 'ask') tally.asked += 1
            if ((ours === undefined) === (theirs === undefined)) continue
            const asking = `${setting.definition.name} = ${JSON.stringify(setting.value)}`
            const words = `${asking}: we say ${ours ?? 'valid'}, the server says ${theirs ?? 'valid'}`
            // ALTER SYSTEM looks into a database (is there such a tablespace?) and not at combinations, a start the
            // reverse; what only the server can judge is right if a start agrees
            assert.equal(verdict, 'ask', words)
            tally.arbitrated += 1
            assert.equal(await starts(setting), ours === undefined, `${words}, and a start agrees with it`)
          }
        }),
        {numRuns: runs},
      )
      const {settings: count, accepted, asked, arbitrated} = tally
      console.log(
        `      ${count} settings of ${free.length} parameters: ${accepted} accepted by the server, ` +
          `${asked} judged by its binary, ${arbitrated} by a start`,
      )
      assert.ok(count >= 10 * runs)
      // a generator of nothing but nonsense would prove little
      assert.ok(accepted > count / 5 && accepted < count * 0.8, `${accepted} of ${count}`)
    })

    it("judges every parameter's own default as the server does", async () => {
      for (const definition of free) {
        if (definition.default === null) continue
        const verdict = config.whyNotValid(definition, definition.default)
        if (verdict === 'ask') continue
        assert.equal(verdict, undefined, `${definition.name} = ${definition.default}`)
        assert.equal(await serverSays({definition, value: definition.default}), undefined, definition.name)
      }
    })

    it('is borne out by a server that starts, or does not, with the setting', async () => {
      // what a machine's memory or another process decides is not a question of validity
      const plain = free.filter(
        ({name: parameter, requires}) =>
          requires === 'reload' || !/buffers|connections|max_|size|memory|huge|workers/.test(parameter),
      )
      await fc.assert(
        fc.asyncProperty(fc.constantFrom(...plain).chain(settingOf), async (setting) => {
          const verdict = config.whyNotValid(setting.definition, setting.value)
          const ours = verdict === 'ask' ? (await rejected([setting])).get(setting.definition.name) : verdict
          assert.equal(
            await starts(setting),
            ours === undefined,
            `${setting.definition.name} = ${JSON.stringify(setting.value)}: ${ours}`,
          )
        }),
        {numRuns: Math.min(runs, 30)},
      )
    })
  })
}
