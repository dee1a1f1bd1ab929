/** The validator against real servers of MySQL and MariaDB: it accepts a setting if and only if the server runs with it. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type {Catalogue, ParameterDefinition} from '../../../src/core/config/parameters.js'
import type {ParameterValues} from '../../../src/core/instance/instance.js'
import {sizes} from '../../../src/core/instance/sizes.js'
import type {Host} from '../../../src/engines/host.js'
import {untilReady} from '../conformance.js'
import {Oracle} from './oracle.js'
import {settingOf, type Setting} from './settings.arbitrary.js'
import {draws, full} from '../../support/runs.js'
import {family, mysqlFamilySubject, type FamilySubject} from './subject.js'

const runs = Number(process.env.DBAAS_TEST_RUNS ?? (full ? 30 : 10))
const settingsARun = 52

for (const member of family) {
  describe(`the validator of ${member.engine.title}`, function () {
    member.needs()
    this.timeout(1_800_000)
    const {engine} = member
    let subject: FamilySubject
    let host: Host
    let catalogue: Catalogue
    let oracle: Oracle
    let free: readonly ParameterDefinition[]
    let base: ParameterValues

    before(async () => {
      subject = await mysqlFamilySubject(member)
      base = engine.config.fromSize(sizes.micro, subject.version)
      const admin = await subject.admin()
      host = await subject.place('judge')
      await engine.lifecycle.initialise(host, subject.version)
      await engine.config.write(host, {version: subject.version, instanceName: 'demo', values: base, tls: await subject.tls()})
      const server = await subject.start(host, engine.lifecycle.command(host, subject.version))
      await untilReady(engine, host, admin, server)
      catalogue = await engine.config.readCatalogue(host, admin)
      await server.stop('SIGTERM')
      free = [...catalogue.values()].filter(({managed, requires}) => managed === null && requires !== 'fixed')
      oracle = await Oracle.of(subject, 'oracle', base, catalogue)
    })
    after(() => subject?.close())

    async function weSay({definition, value}: Setting): Promise<string | undefined> {
      const verdict = engine.config.whyNotValid(definition, value)
      if (verdict !== 'ask') return verdict
      return (await engine.config.preflight(host, {...base, [definition.name]: value}, subject.version))?.because
    }

    // Feature: enterprise-dbaas-platform, Property 4: Engine-Specific Validation
    // Iterations: 10 runs of 52 random settings in CI (520, the same every time), 30 in test:full, against real servers of MySQL and of MariaDB
    it('accepts a setting if and only if the server runs with exactly it', async () => {
      const tally = {settings: 0, accepted: 0, arbitrated: 0}
      const disagreements: string[] = []
      const batch = fc.uniqueArray(fc.constantFrom(...free).chain(settingOf), {
        minLength: settingsARun, maxLength: settingsARun, selector: ({definition}) => definition.name,
      })
      await fc.assert(fc.asyncProperty(batch, async (drawn) => {
        const together = await oracle.verdicts(drawn)
        for (const setting of drawn) {
          const ours = await weSay(setting)
          let theirs = together.get(setting)
          tally.settings += 1
          if ((ours === undefined) !== (theirs === undefined)) {
            // beside others a setting may mean something else: by itself it shows what it is
            tally.arbitrated += 1
            theirs = await oracle.alone(setting)
          }
          if (theirs === undefined) tally.accepted += 1
          const {definition, value} = setting
          if ((ours === undefined) === (theirs === undefined)) continue
          const words = `${definition.name} = ${JSON.stringify(value)}: we say ${ours ?? 'valid'}, the server says ${theirs ?? 'valid'}`
          console.log(`      ${words}`)
          disagreements.push(words)
        }
      }), {...draws, numRuns: runs, endOnFailure: true})
      console.log(`      ${tally.settings} settings of ${free.length} parameters: ${tally.accepted} accepted, ${tally.arbitrated} judged once more alone, ${oracle.starts} starts`)
      assert.deepEqual(disagreements, [])
      assert.ok(tally.settings >= settingsARun * runs)
      assert.ok(tally.accepted > tally.settings / 5 && tally.accepted < tally.settings * 0.85, `${tally.accepted} of ${tally.settings}`)
    })

    it("judges every parameter's own default as valid", () => {
      for (const definition of free) {
        if (definition.default === null) continue
        const verdict = engine.config.whyNotValid(definition, definition.default)
        assert.ok(verdict === undefined || verdict === 'ask', `${definition.name} = ${definition.default}: ${verdict}`)
      }
    })
  })
}
