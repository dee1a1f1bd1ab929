/**
 * The model check of the high-availability policy (SPEC.md properties 24 and 25): random walks, shrunk when they fail, and all walks of
 * a small world. Each safeguard is then switched off, and the same check must find what goes wrong without it.
 */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import {allSafeguards, safeguardNames, type Safeguard} from '../../../src/core/ha/safeguards.js'
import {draws, full} from '../../support/runs.js'
import {explore} from './explore.js'
import {kinds, Violation, World, worldFaults, type Happening, type WorldFault, type WorldOptions} from './world.js'

type Kind = (typeof kinds)[number]
type Weights = Readonly<Partial<Record<Kind, number>>>

/** In twentieths of a usual happening. */
const usual: Required<Weights> = {
  agent: 280, half: 40, work: 60, commit: 80, write: 60, stream: 160, reload: 20, kill: 40, spoil: 8, hang: 20, deafen: 10, cut: 30, unlink: 20, 'crash-agent': 14,
  panic: 14, wish: 12, request: 12,
}

interface Walk {
  readonly options: WorldOptions
  /** From a cluster that is healthy, or from one that has just been made. */
  readonly fromHealth: boolean
  readonly happenings: readonly Happening[]
}

const sizes: readonly (readonly [nodes: number, k: number, voters: number])[] = [[2, 1, 1], [3, 1, 1], [3, 1, 2], [3, 2, 2], [4, 1, 2], [4, 1, 3], [4, 2, 2], [4, 2, 3]]

function walks(options: Partial<WorldOptions>, weights: Weights = {}, among = sizes, maxLength = 120): fc.Arbitrary<Walk> {
  const kind = fc.oneof(...kinds.map((arbitrary) => ({arbitrary: fc.constant(arbitrary), weight: {...usual, ...weights}[arbitrary]})))
  return fc.record({
    options: fc.constantFrom(...among).map(([nodes, k, voters]): WorldOptions => ({nodes, wanted: {k, voters}, ...options})),
    fromHealth: fc.boolean(),
    happenings: fc.array(fc.tuple(kind, fc.nat(3), fc.nat(3)), {minLength: maxLength / 4, maxLength, size: 'max'}),
  })
}

function walk({options, fromHealth, happenings}: Walk): World {
  const world = new World(options)
  if (fromHealth) world.settle()
  for (const happening of happenings) world.happen(happening)
  return world
}

const runs = Number(process.env['DBAAS_TEST_RUNS'] ?? (full ? 20_000 : 1000))

/** Worlds in which what a safeguard is for happens more often than once in a thousand walks. */
const hints: Partial<Record<Safeguard | WorldFault, {readonly among?: typeof sizes, readonly weights?: Weights, readonly length?: number}>> = {
  revocation: {among: [[3, 1, 2], [4, 1, 3]], weights: {cut: 100, panic: 60, write: 120, kill: 0}},
  line: {among: [[3, 1, 2], [3, 2, 2], [4, 2, 3]], weights: {kill: 100, half: 80}},
  distrust: {among: [[3, 1, 2], [3, 2, 2]], weights: {kill: 80, spoil: 100, panic: 40, cut: 60}},
  outsiders: {among: [[4, 2, 2]], weights: {kill: 60, write: 160, panic: 40}},
  'voters-before-set': {among: [[3, 1, 2], [4, 1, 2]], weights: {write: 160, panic: 40}},
  'first-barrier': {among: [[3, 1, 2], [3, 1, 1]], weights: {write: 160, panic: 40}},
  'removal-barrier': {among: [[3, 1, 2], [4, 1, 3]], weights: {write: 200, wish: 60, cut: 60, unlink: 60, panic: 40, work: 20}},
  'raise-barrier': {among: [[3, 1, 2], [4, 1, 3]], weights: {wish: 100, write: 200, panic: 40, cut: 60, work: 20}},
  'lower-first': {among: [[3, 2, 2], [4, 2, 3]], weights: {wish: 100, write: 200, panic: 40, cut: 60}},
  'gate-stays-open': {weights: {commit: 200, cut: 60, panic: 40}},
}

describe('the policy of high availability, in a small world', function () {
  this.timeout(600_000)

  it('loses no acknowledged write, never has two primaries, and comes back from wherever it was led', () => {
    fc.assert(fc.property(walks({strict: true}), (drawn) => {
      const world = walk(drawn)
      try {
        world.settle()
      } catch (error) {
        throw new Error(`${String(error)}\n${world.tell()}`)
      }
    }), {...draws, numRuns: runs})
  })

  it('does so along every short way from a healthy cluster: commits, kills, cuts and an agent that dies, in any order', () => {
    const found = explore({options: {nodes: 3, wanted: {k: 1, voters: 2}, strict: true}, depth: full ? 14 : 9, faults: 2, commits: 2})
    assert.ok(found.states > 1000, `only ${found.states} states`)
  })

  const consequences = new Set(['lost', 'two-primaries', 'unfenced', 'corrupt'])
  const findsHarm = (name: Safeguard | WorldFault, options: Partial<WorldOptions>): void => {
    const {among = sizes, weights = {}, length} = hints[name] ?? {}
    const property = fc.property(walks(options, weights, among, length), (drawn) => {
      try {
        walk(drawn).settle()
      } catch (error) {
        // that it is stuck is no harm
        if (error instanceof Violation && !consequences.has(error.kind)) return
        throw error
      }
    })
    const details = fc.check(property, {seed: 20_261_130, numRuns: 20_000, endOnFailure: true})
    assert.ok(details.failed, 'nothing was found')
    assert.ok(details.errorInstance instanceof Violation, String(details.errorInstance))
  }

  for (const name of safeguardNames) {
    it(`finds harm without the safeguard "${name}"`, () => findsHarm(name, {rules: {...allSafeguards, [name]: false}}))
  }

  for (const fault of worldFaults) {
    it(`finds harm in a world with the fault "${fault}"`, () => findsHarm(fault, {fault}))
  }
})
