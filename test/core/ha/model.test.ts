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
  readonly lead: readonly Happening[]
  readonly happenings: readonly Happening[]
}

const sizes: readonly (readonly [nodes: number, k: number, voters: number])[] = [[2, 1, 1], [3, 1, 1], [3, 1, 2], [3, 2, 2], [4, 1, 2], [4, 1, 3], [4, 2, 2], [4, 2, 3]]

function walks(options: Partial<WorldOptions>, scene?: Scene): fc.Arbitrary<Walk> {
  const {among, lead, weights} = scene ?? {among: sizes, lead: [], weights: {}}
  const kind = fc.oneof(...kinds.map((arbitrary) => ({arbitrary: fc.constant(arbitrary), weight: {...usual, ...weights}[arbitrary]})))
  return fc.record({
    options: fc.constantFrom(...among).map(([nodes, k, voters]): WorldOptions => ({nodes, wanted: {k, voters}, ...options})),
    fromHealth: scene ? fc.constant(true) : fc.boolean(),
    lead: fc.constant(lead),
    happenings: fc.array(fc.tuple(kind, fc.nat(3), fc.nat(3)), {minLength: 30, maxLength: 120, size: 'max'}),
  })
}

function walk({options, fromHealth, lead, happenings}: Walk): void {
  const world = new World(options)
  try {
    if (fromHealth) world.settle()
    for (const happening of [...lead, ...happenings]) world.happen(happening)
    world.settle()
  } catch (error) {
    if (error instanceof Violation) error.message += `\n${world.tell()}`
    throw error
  }
}

const runs = Number(process.env['DBAAS_TEST_RUNS'] ?? (full ? 20_000 : 1000))

interface Scene {
  readonly among: typeof sizes
  /** What happens first; what follows is random. */
  readonly lead: readonly Happening[]
  readonly weights?: Weights
}

/** How to come near what a safeguard is for, where random walks take long to. The nodes are a (0), the primary, to d (3). */
const scenes: Partial<Record<Safeguard | WorldFault, Scene>> = {
  // d has a long tail that nobody confirmed; b, which was chosen without it, serves; then d is heard instead of a
  line: {among: [[4, 2, 3]], lead: [['write', 0, 0], ['write', 0, 0], ['write', 0, 0], ['stream', 3, 3], ['cut', 3, 0], ['kill', 0, 0], ['work', 0, 3], ['work', 0, 3], ['work', 0, 3],
    ['write', 1, 0], ['stream', 0, 3], ['stream', 2, 3], ['kill', 1, 0], ['kill', 0, 0], ['cut', 0, 0], ['cut', 3, 0]]},
  // b confirmed alone, lost its disk, and is a copy without its log when the primary dies
  distrust: {among: [[3, 1, 2]], lead: [['unlink', 0, 2], ['write', 0, 0], ['stream', 1, 3], ['spoil', 1, 0], ['agent', 0, 0], ['agent', 0, 0], ['agent', 0, 0], ['agent', 0, 2], ['kill', 0, 0],
    ['cut', 0, 0]]},
  // b is chosen, two that were no voters confirm a write, then c is heard, which was a voter and away
  outsiders: {among: [[4, 2, 2]], lead: [['kill', 0, 0], ['kill', 2, 0], ['cut', 2, 0], ['work', 0, 3], ['work', 0, 3], ['write', 1, 0], ['stream', 0, 3], ['stream', 3, 3], ['kill', 1, 0],
    ['cut', 1, 0], ['cut', 2, 0]], weights: {cut: 0, kill: 0}},
  // c votes anew and confirms alone, before it is recorded
  'voters-before-set': {among: [[3, 1, 2]], lead: [['wish', 2, 0], ['work', 0, 3], ['wish', 2, 0], ['agent', 0, 0], ['agent', 0, 0], ['write', 0, 0], ['stream', 2, 3], ['kill', 0, 0],
    ['kill', 2, 0], ['cut', 0, 0], ['cut', 2, 0]]},
  // b confirmed alone, and shall vote no more
  'removal-barrier': {among: [[3, 1, 2]], lead: [['write', 0, 0], ['stream', 1, 3], ['wish', 1, 0], ['agent', 0, 0], ['agent', 0, 0], ['agent', 0, 0], ['agent', 0, 0], ['kill', 0, 0], ['kill', 1, 0],
    ['cut', 0, 0], ['cut', 1, 0]]},
  // b confirmed alone when one was enough; from now on two shall
  'raise-barrier': {among: [[3, 1, 2]], lead: [['write', 0, 0], ['stream', 1, 3], ['wish', 1, 2], ['agent', 0, 0], ['agent', 0, 0], ['kill', 0, 0], ['kill', 1, 0], ['cut', 0, 0], ['cut', 1, 0]]},
  // b confirms alone as soon as one is enough, and c would be enough when both were
  'lower-first': {among: [[3, 2, 2]], lead: [['wish', 0, 2], ['agent', 0, 0], ['agent', 0, 0], ['write', 0, 0], ['stream', 1, 3], ['kill', 0, 0], ['kill', 1, 0], ['cut', 0, 0], ['cut', 1, 0]]},
  // voters beyond the heard one still follow a, which the agent does not reach
  revocation: {among: [[3, 1, 2], [4, 1, 3]], lead: [['cut', 0, 0], ['panic', 0, 0]], weights: {work: 0, write: 200, kill: 0, panic: 0, cut: 0}},
  // the agent does not reach a, which lives; clients do
  'gate-stays-open': {among: [[3, 1, 2]], lead: [['cut', 0, 0], ['panic', 0, 0]], weights: {work: 0, cut: 0, panic: 0, 'crash-agent': 0}},
}

describe('the policy of high availability, in a small world', function () {
  this.timeout(600_000)

  const holds = (arbitrary: fc.Arbitrary<Walk>, numRuns: number): void => fc.assert(fc.property(arbitrary, (drawn) => {
    walk(drawn)
  }), {...draws, numRuns})

  it('loses no acknowledged write, never has two primaries, and comes back from wherever it was led', () => holds(walks({strict: true}), runs))

  it('does so in every scene in which it would lose one without its safeguards', () => {
    for (const scene of Object.values(scenes)) holds(walks({strict: true}, scene), Math.ceil(runs / 25))
  })

  it('does so along every short way from a healthy cluster: commits, kills, cuts and an agent that dies, in any order', () => {
    const found = explore({options: {nodes: 3, wanted: {k: 1, voters: 2}, strict: true}, depth: full ? 12 : 8, faults: 2, commits: 2})
    assert.ok(found.states > 1000, `only ${found.states} states`)
  })

  const consequences = new Set(['lost', 'two-primaries', 'unfenced', 'corrupt'])
  const findsHarm = (name: Safeguard | WorldFault, options: Partial<WorldOptions>): void => {
    const property = fc.property(walks(options, scenes[name]), (drawn) => {
      try {
        walk(drawn)
      } catch (error) {
        // that it is stuck is no harm
        if (error instanceof Violation && !consequences.has(error.kind)) return
        throw error
      }
    })
    const details = fc.check(property, {seed: 20_261_130, numRuns: 3000, endOnFailure: true})
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
