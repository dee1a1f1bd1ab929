/** Where files are written and programs are run: in the server's container while that runs, else in the tool beside it. */
import type {Duplex} from 'node:stream'
import type {Client} from './client.js'
import {inspectContainer, type Inspected} from './containers.js'
import type {Seat} from './host.js'
import type {Place} from './recipe.js'
import {createSession, sessionShell, type Session} from './session.js'
import type {Tools} from './tools.js'

const idleMs = 5000
/** An answer that takes longer may never come: somebody may have paused the container. */
const doubtMs = 1000

interface Kept {
  readonly session: Promise<Session>
  live: Session | undefined
  timer: NodeJS.Timeout | undefined
}

export interface SeatOf {
  readonly nodeId: string
  /** The server's container. */
  find(): Promise<Inspected | undefined>
  /** Throws when there is no volume. */
  place(): Promise<Place>
  /** Puts a container that has no network on that of the servers; absent where there is none. */
  join?(container: string): Promise<void>
}

export function createSeats(client: Client, tools: Tools) {
  /** Shells in running servers, by node. */
  const kept = new Map<string, Kept>()

  async function open(id: string, place: Place, onEnd: () => void): Promise<Session> {
    const {mark, argv} = sessionShell()
    return client.call('open a shell in a container', async (docker, abortSignal) => {
      const exec = await docker.getContainer(id).exec({
        Cmd: argv, User: `${place.image.uid}:${place.image.gid}`, AttachStdin: true, AttachStdout: true, AttachStderr: true, abortSignal,
      })
      return unlessPaused(id, createSession(await exec.start({hijack: true, stdin: true, abortSignal}) as Duplex, mark, onEnd))
    })
  }

  /** What is asked of a container that is paused fails instead of waiting until somebody lets it go on. */
  function unlessPaused(id: string, session: Session): Session {
    return {
      get ended() {
        return session.ended
      },
      async run(script, args, input) {
        const timer = setInterval(() => void inspectContainer(client, id).then((now) => {
          if (now?.State.Paused) session.close()
        }, () => undefined), doubtMs).unref()
        try {
          return await session.run(script, args, input)
        } finally {
          clearInterval(timer)
        }
      },
      close: () => session.close(),
    }
  }

  function drop(nodeId: string, which: Kept): void {
    clearTimeout(which.timer)
    if (kept.get(nodeId) === which) kept.delete(nodeId)
  }

  function keep(nodeId: string, id: string, place: Place): Kept {
    const made: Kept = {session: open(id, place, () => drop(nodeId, made)), live: undefined, timer: undefined}
    kept.set(nodeId, made)
    made.session.then((session) => (made.live = session), () => drop(nodeId, made))
    return made
  }

  function rest(which: Kept): void {
    clearTimeout(which.timer)
    which.timer = setTimeout(() => which.live?.close(), idleMs).unref()
  }

  async function inServer({nodeId, find}: SeatOf, place: Place): Promise<Session | undefined> {
    const container = await find()
    // a paused one does nothing for anybody
    if (!container?.State.Running || container.State.Paused) return undefined
    const which = kept.get(nodeId) ?? keep(nodeId, container.Id, place)
    return which.session
  }

  return {
    of: (who: SeatOf): Seat => ({
      async session() {
        const which = kept.get(who.nodeId)
        if (which?.live && !which.live.ended) {
          rest(which)
          return which.live
        }
        const present = tools.live(who.nodeId)
        if (present) return present
        const place = await who.place()
        const session = await inServer(who, place)
        if (!session) return tools.session(place)
        const opened = kept.get(who.nodeId)
        if (opened) rest(opened)
        return session
      },
      async using(work, {onNetwork = false} = {}) {
        const [place, container] = await Promise.all([who.place(), who.find()])
        if (container?.State.Running && !container.State.Paused) return work(container.Id)
        return tools.using(place, async (tool) => {
          if (onNetwork) await who.join?.(tool)
          return work(tool)
        })
      },
    }),
    close(): void {
      for (const which of kept.values()) {
        clearTimeout(which.timer)
        which.live?.close()
      }
    },
  }
}
