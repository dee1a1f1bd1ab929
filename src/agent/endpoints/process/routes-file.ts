import {open, readFile, rename} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import type {Route} from '../endpoint.js'

const formatVersion = 1

/** The routes of an earlier life, or none: the agent replaces them as soon as it is there, so a lost file heals. */
export async function readRoutes(stateDir: string): Promise<readonly Route[]> {
  try {
    const text = await readFile(join(stateDir, 'routes.json'), 'utf8')
    const stored = JSON.parse(text) as {version: number; routes: Route[]}
    return stored.version === formatVersion && Array.isArray(stored.routes) ? stored.routes : []
  } catch (error) {
    const {code, message} = error as NodeJS.ErrnoException
    if (code !== 'ENOENT') console.error(`routes.json is not readable: ${message}`)
    return []
  }
}

/** Atomic and durable: a crash at any instant leaves the old routes or the new ones, whole. */
export async function writeRoutes(stateDir: string, routes: readonly Route[]): Promise<void> {
  const path = join(stateDir, 'routes.json')
  const file = await open(`${path}.new`, 'w', 0o600)
  try {
    await file.writeFile(`${JSON.stringify({version: formatVersion, routes}, null, 2)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(`${path}.new`, path)
  // Without it the rename itself may be lost by a power failure.
  const folder = await open(dirname(path), 'r')
  await folder.sync().finally(() => folder.close())
}
