/** Every way through a small world, breadth first, without going twice where it has been. */
import {World, type Happening, type WorldOptions} from './world.js'

export interface Exploration {
  readonly options: WorldOptions
  /** Happenings, one after the other. */
  readonly depth: number
  /** At most so many of them are faults, so many are commits. */
  readonly faults: number
  readonly commits: number
}

interface Place {
  readonly world: World
  readonly faults: number
  readonly commits: number
}

/** From health on. Each place that is reached is also left to itself: it must come back to health. Throws what it finds, with the way there. */
export function explore({options, depth, faults, commits}: Exploration): {readonly states: number} {
  const first = new World(options)
  first.settle()
  let places: Place[] = [{world: first, faults, commits}]
  const seen = new Set<string>()
  for (let step = 0; step < depth; step++) {
    const next: Place[] = []
    for (const place of places) {
      for (const [happening, isFault, isCommit] of ways(place)) {
        const world = place.world.copy()
        try {
          world.happen(happening)
          const reached = {world, faults: place.faults - Number(isFault), commits: place.commits - Number(isCommit)}
          const key = `${reached.faults} ${reached.commits} ${world.fingerprint()}`
          if (seen.has(key)) continue
          seen.add(key)
          world.copy().settle()
          next.push(reached)
        } catch (error) {
          throw new Error(`${String(error)}\n${world.tell()}`)
        }
      }
    }
    places = next
  }
  return {states: seen.size}
}

function ways({world, faults, commits}: Place): (readonly [Happening, isFault: boolean, isCommit: boolean])[] {
  const ways: (readonly [Happening, boolean, boolean])[] = []
  const actions = Math.max(1, world.queue.length)
  for (let i = 0; i < actions; i++) ways.push([['agent', 0, i], false, false])
  for (const [who, id] of world.ids.entries()) {
    if (world.isConnected(id)) ways.push([['stream', who, 3], false, false])
    if (commits > 0 && world.servers.get(id)!.process?.recovery === false) ways.push([['write', who, 0], false, true])
    if (faults > 0) ways.push([['kill', who, 0], true, false], [['cut', who, 0], true, false])
  }
  if (faults > 0) ways.push([['panic', 0, 0], true, false], [['crash-agent', 0, 0], true, false])
  if (faults > 0 && world.queue.length > 0) ways.push([['half', 0, 0], true, false])
  return ways
}
