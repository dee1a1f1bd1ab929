/** The written identity of a server: the `ref` of the store, and the file in the place. */
import {readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs'
import type {Place} from './places.js'
import {isAlive, type Identity} from './processes.js'

export const refOf = ({pid, startTicks, bootId}: Identity): string => JSON.stringify({pid, startTicks, bootId})

/** Undefined for null and for anything that is not such a ref: it finds nothing, like a stale one. */
export function parseRef(ref: string | null): Identity | undefined {
  if (ref === null) return undefined
  try {
    const value = JSON.parse(ref) as Partial<Identity> | null
    if (!value || !Number.isInteger(value.pid) || !Number.isInteger(value.startTicks) || typeof value.bootId !== 'string') return undefined
    return (value.pid as number) > 1 ? {pid: value.pid as number, startTicks: value.startTicks as number, bootId: value.bootId} : undefined
  } catch {
    return undefined
  }
}

/** Not synced to disk: after a power cut the process it names is gone too. */
export function writeRecord(place: Place, identity: Identity): void {
  const temporary = `${place.serverFile}.tmp`
  writeFileSync(temporary, refOf(identity), {mode: 0o600})
  renameSync(temporary, place.serverFile)
}

export function readRecord(place: Place): Identity | undefined {
  try {
    return parseRef(readFileSync(place.serverFile, 'utf8'))
  } catch {
    return undefined
  }
}

export const removeRecord = (place: Place): void => rmSync(place.serverFile, {force: true})

/** The first of the given identities that lives. */
export const firstAlive = (...identities: readonly (Identity | undefined)[]): Identity | undefined =>
  identities.find((identity) => identity !== undefined && isAlive(identity))
