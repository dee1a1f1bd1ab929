/** What finds one run of a server again: its container, and when that was started. */
import type {Inspected} from './containers.js'

export interface Ref {
  /** The container's name, for a person. */
  readonly container: string
  readonly id: string
  readonly startedAt: string
}

export const refOf = ({Name, Id, State}: Inspected): string =>
  JSON.stringify({container: Name.replace(/^\//, ''), id: Id, startedAt: State.StartedAt} satisfies Ref)

/** Undefined for null and for anything that is not such a ref: it finds nothing, like a stale one. */
export function parseRef(ref: string | null): Ref | undefined {
  if (ref === null) return undefined
  try {
    const value = JSON.parse(ref) as Partial<Ref> | null
    if (!value || typeof value.container !== 'string' || typeof value.startedAt !== 'string') return undefined
    return /^[0-9a-f]{64}$/.test(value.id ?? '') ? {container: value.container, id: value.id as string, startedAt: value.startedAt} : undefined
  } catch {
    return undefined
  }
}

export const isOf = (ref: Ref | undefined, container: Inspected): boolean =>
  ref !== undefined && ref.id === container.Id && ref.startedAt === container.State.StartedAt
