/**
 * Sees servers end, and tells of what else happened to nodes. An event is only a reason to look; the same look is taken
 * when the event stream was open anew, and now and then, so that no end is missed.
 */
import type {ServerEnd} from '../runtime.js'
import type {Client} from './client.js'
import {inspectContainer} from './containers.js'
import {endOf} from './ends.js'
import type {EngineEvent, Events} from './events.js'
import {labels} from './labels.js'
import {isOf, parseRef, type Ref} from './ref.js'

const lookMs = 10_000
/** A look right after an event may find an engine that has gone again; the next stream, or the next look, tells. */
const retryMs = 500

interface Watch {
  readonly ref: Ref
  readonly ended: (end: ServerEnd) => void
}

export function createWatches(client: Client, events: Events, siteId: string, nodeOfVolume: (name: string) => string | undefined) {
  const watches = new Set<Watch>()
  const changes = new Set<(nodeId: string | null) => void>()
  let unsubscribe: (() => void) | undefined
  let timer: NodeJS.Timeout | undefined

  /** Subscribed while somebody wants to know. */
  function settle(): void {
    if (watches.size + changes.size > 0) {
      unsubscribe ??= events.subscribe({event, opened, lost: () => changed(null)})
    } else {
      unsubscribe?.()
      unsubscribe = undefined
    }
    if (watches.size > 0) timer ??= setInterval(() => void lookAtAll(), lookMs).unref()
    else {
      clearInterval(timer)
      timer = undefined
    }
  }

  function opened(): void {
    void lookAtAll()
    changed(null)
  }

  function event(told: EngineEvent): void {
    const {type, action, id, attributes} = told
    if (type === 'container') {
      if (action === 'die' || action === 'destroy') {
        const code = action === 'die' && /^\d+$/.test(attributes['exitCode'] ?? '') ? Number(attributes['exitCode']) : null
        for (const watch of [...watches]) if (watch.ref.id === id) void look(watch, code)
      }
      if (attributes[labels.site] !== siteId || attributes[labels.role] !== 'server') return
      if (action !== 'die' && action !== 'oom') changed(attributes[labels.node] ?? null)
    } else if (type === 'network') {
      void cutOff(attributes['container'])
    } else {
      const nodeId = nodeOfVolume(id)
      if (nodeId !== undefined) changed(nodeId)
    }
  }

  async function cutOff(containerId: string | undefined): Promise<void> {
    if (containerId === undefined || changes.size === 0) return
    const container = await inspectContainer(client, containerId).catch(() => undefined)
    const marks = container?.Config.Labels
    // one that ends leaves its network, too
    if (container?.State.Running && marks?.[labels.site] === siteId && marks[labels.role] === 'server') changed(marks[labels.node] ?? null)
  }

  function changed(nodeId: string | null): void {
    for (const callback of [...changes]) callback(nodeId)
  }

  const lookAtAll = async (): Promise<void> => {
    await Promise.all([...watches].map((watch) => look(watch, null)))
  }

  /** `code` is what an event said of the end, for a container that cannot be asked any more. */
  async function look(watch: Watch, code: number | null): Promise<void> {
    if (!watches.has(watch)) return
    try {
      const container = await inspectContainer(client, watch.ref.id)
      if (container && isOf(watch.ref, container)) {
        if (!container.State.Running) finish(watch, endOf(container))
      } else finish(watch, {exitCode: code, because: container ? null : 'its container was removed'})
    } catch {
      // the engine does not answer: what is not known is not told
      if (code !== null) setTimeout(() => void look(watch, code), retryMs).unref()
    }
  }

  function finish(watch: Watch, end: ServerEnd): void {
    if (!watches.delete(watch)) return
    settle()
    watch.ended(end)
  }

  return {
    watch(ref: string, ended: (end: ServerEnd) => void): () => void {
      const parsed = parseRef(ref)
      if (!parsed) {
        const immediate = setImmediate(ended, {exitCode: null, because: null})
        return () => clearImmediate(immediate)
      }
      const watch: Watch = {ref: parsed, ended}
      watches.add(watch)
      settle()
      void look(watch, null)
      return () => {
        watches.delete(watch)
        settle()
      }
    },

    onChange(callback: (nodeId: string | null) => void): () => void {
      // a function of its own: the same one may be given twice
      const mine = (nodeId: string | null): void => callback(nodeId)
      changes.add(mine)
      settle()
      return () => {
        changes.delete(mine)
        settle()
      }
    },

    close(): void {
      watches.clear()
      changes.clear()
      settle()
    },
  }
}
