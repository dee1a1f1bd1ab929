/**
 * The container beside a server that does not run: on its volume, of its image, without network. Files are written and
 * programs run in it. There is at most one for a place; it ends when the server starts, after a while of nothing to do,
 * and with the agent, whose connection is its standard input, so that none is ever left behind.
 */
import type {Duplex} from 'node:stream'
import {DbaasError} from '../../../core/errors.js'
import type {Client} from './client.js'
import {inspectContainer, removeContainer} from './containers.js'
import {refusalOf} from './errors.js'
import type {Images} from './images.js'
import {labelsOfSite, type Labels, type Role} from './labels.js'
import {nameOfTool} from './names.js'
import {toolContainer, type Place} from './recipe.js'
import {createSession, sessionShell, type Session} from './session.js'
import {isBroughtBack, removeBroughtBack} from './volumes.js'

export interface Tools {
  /** The id of the place's tool, made if there is none; it need not run for the archive API. */
  container(place: Place): Promise<string>
  /** Its shell, if it runs now. Asking counts as work. */
  live(nodeId: string): Session | undefined
  /** Its shell, started if it is not. */
  session(place: Place): Promise<Session>
  /** Does something in it, which is not ended meanwhile for want of other work. */
  using<T>(place: Place, work: (id: string) => Promise<T>): Promise<T>
  /** Removes it, also one that another agent left. */
  end(place: Pick<Place, 'nodeId' | 'name'>): Promise<void>
  /** Removes one that another agent left, whose programs may still be at work. */
  endStrange(place: Pick<Place, 'nodeId' | 'name'>): Promise<void>
  has(id: string): boolean
  close(): Promise<void>
}

const idleMs = 5000
/** Short work of the agent's own: it is not slower, and not starved, where the instance is small. */
const leastMemoryBytes = 512 * 1024 ** 2

interface Tool {
  readonly name: string
  readonly mark: string
  readonly id: Promise<string>
  known?: string
  session?: Promise<Session>
  live?: Session
  busy: number
  timer?: NodeJS.Timeout
}

export function createTools(client: Client, images: Images, siteId: string): Tools {
  const tools = new Map<string, Tool>()

  function of(place: Place): Tool {
    const present = tools.get(place.nodeId)
    if (present) return present
    const name = nameOfTool(place.name)
    const shell = sessionShell()
    const tool: Tool = {name, mark: shell.mark, busy: 0, id: make(place, name, shell.argv)}
    tools.set(place.nodeId, tool)
    tool.id.then((id) => (tool.known = id), () => drop(place.nodeId, tool))
    return tool
  }

  async function make(place: Place, name: string, argv: readonly string[]): Promise<string> {
    const config = await images.configOf(place.image)
    const big = {...place, cpu: 0, memoryBytes: Math.max(place.memoryBytes, leastMemoryBytes)}
    const recipe = toolContainer(big, config, labelsOf(place), name, argv)
    const create = (): Promise<string | undefined> => client.call(`make a container for ${place.name}`, async (docker, abortSignal) => {
      try {
        return (await docker.createContainer({...recipe, abortSignal})).id
      } catch (error) {
        const refusal = refusalOf(error)
        if (refusal?.status === 409 && /already in use/.test(refusal.words)) return undefined
        throw error
      }
    })
    const made = await withImage(place, create)
    if (made !== undefined) return onItsVolume(place, made)
    // of an agent that was killed a moment ago
    await removeContainer(client, name)
    const second = await create()
    if (second === undefined) throw new DbaasError('INVALID_STATE', `the name ${name} is taken by another container`, {suggestions: [`docker rm -f ${name}`]})
    return onItsVolume(place, second)
  }

  /** Throws INVALID_STATE where the place was removed a moment ago. */
  async function onItsVolume({name}: Place, id: string): Promise<string> {
    if (!(await isBroughtBack(client, name))) return id
    await removeContainer(client, id)
    await removeBroughtBack(client, name)
    throw new DbaasError('INVALID_STATE', `${name} has no place: its volume does not exist`, {details: {volume: name}, suggestions: ['docker volume ls', 'dbaas doctor']})
  }

  /** Where the image was removed by hand, once more with what its digest brings back. */
  async function withImage<T>(place: Place, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof DbaasError) || error.code !== 'IMAGE_NOT_FOUND') throw error
      images.forget(place.image)
      await images.configOf(place.image)
      return work()
    }
  }

  const labelsOf = (place: Place): Labels => ({...labelsOfSite(siteId, roleOf(place), place.nodeId)})

  function drop(nodeId: string, tool: Tool): void {
    clearTimeout(tool.timer)
    if (tools.get(nodeId) === tool) tools.delete(nodeId)
  }

  function rest(nodeId: string, tool: Tool): void {
    clearTimeout(tool.timer)
    if (tool.busy > 0) return
    tool.timer = setTimeout(() => {
      if (tool.busy === 0) void finish(nodeId, tool).catch(() => undefined)
    }, idleMs).unref()
  }

  async function finish(nodeId: string, tool: Tool): Promise<void> {
    drop(nodeId, tool)
    const id = await tool.id.catch(() => undefined)
    // its session ends with it
    if (id !== undefined) await removeContainer(client, id)
  }

  async function hold<T>(place: Place, work: (tool: Tool) => Promise<T>): Promise<T> {
    const tool = of(place)
    tool.busy++
    clearTimeout(tool.timer)
    try {
      return await work(tool)
    } finally {
      tool.busy--
      rest(place.nodeId, tool)
    }
  }

  async function started(place: Place, tool: Tool): Promise<Session> {
    const id = await tool.id
    return client.call(`start a container for ${place.name}`, async (docker, abortSignal) => {
      const container = docker.getContainer(id)
      // before it starts: nothing that it says is missed, and it never runs without us
      const stream = await container.attach({stream: true, stdin: true, stdout: true, stderr: true, hijack: true, abortSignal}) as unknown as Duplex
      const session = createSession(stream, tool.mark, () => drop(place.nodeId, tool))
      try {
        await container.start({abortSignal})
      } catch (error) {
        session.close()
        throw error
      }
      tool.live = session
      return session
    })
  }

  const sessionOf = (place: Place, tool: Tool): Promise<Session> =>
    (tool.session ??= started(place, tool).catch(async (error: unknown) => {
      await finish(place.nodeId, tool).catch(() => undefined)
      throw error
    }))

  return {
    live(nodeId) {
      const tool = tools.get(nodeId)
      if (!tool?.live || tool.live.ended) return undefined
      rest(nodeId, tool)
      return tool.live
    },
    container: (place) => hold(place, (tool) => tool.id),
    session: (place) => hold(place, (tool) => sessionOf(place, tool)),
    using: (place, work) => hold(place, async (tool) => {
      await sessionOf(place, tool)
      return work(await tool.id)
    }),
    async end(place) {
      const tool = tools.get(place.nodeId)
      if (tool) await finish(place.nodeId, tool)
      else await removeContainer(client, nameOfTool(place.name))
    },
    async endStrange(place) {
      if (tools.has(place.nodeId)) return
      if (await inspectContainer(client, nameOfTool(place.name))) await removeContainer(client, nameOfTool(place.name))
    },
    has: (id) => [...tools.values()].some((tool) => tool.known === id),
    async close() {
      await Promise.all([...tools].map(([nodeId, tool]) => finish(nodeId, tool).catch(() => undefined)))
    },
  }
}

const roleOf = (place: Place): Role => (place.nodeId.startsWith('scratch-') ? 'scratch' : 'tool')
