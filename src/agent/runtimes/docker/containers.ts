/** What is done to any container, whichever it is. */
import {setTimeout as sleep} from 'node:timers/promises'
import type {Readable} from 'node:stream'
import tar from 'tar-stream'
import type Docker from 'dockerode'
import {DbaasError} from '../../../core/errors.js'
import type {Client} from './client.js'
import {refusalOf} from './errors.js'

export type Inspected = Docker.ContainerInspectInfo

/** Undefined when there is none of that name or id. */
export const inspectContainer = (client: Client, idOrName: string): Promise<Inspected | undefined> =>
  client.find('look at a container', (docker, abortSignal) => docker.getContainer(idOrName).inspect({abortSignal}))

/** Containers that carry all of the labels (null: any value), running or not. */
export const listContainers = (client: Client, label: readonly string[]): Promise<Docker.ContainerInfo[]> =>
  client.call('list containers', (docker, abortSignal) => docker.listContainers({all: true, filters: {label: [...label]}, abortSignal}))

const goneMs = 30_000
const pollMs = 20

/** Kills what runs in it, and returns when it is gone. No error when it is not there. */
export async function removeContainer(client: Client, idOrName: string): Promise<void> {
  const until = Date.now() + goneMs
  for (;;) {
    const gone = await client.call('remove a container', async (docker, abortSignal) => {
      try {
        await docker.getContainer(idOrName).remove({force: true, v: true, abortSignal})
        return true
      } catch (error) {
        const refusal = refusalOf(error)
        if (refusal?.status === 404) return true
        // somebody else removes it at this moment, or it removes itself
        if (refusal?.status === 409 && /already in progress/.test(refusal.words)) return false
        throw error
      }
    })
    if (gone) return
    if (Date.now() > until) throw new DbaasError('RUNTIME_UNAVAILABLE', `Docker has not removed the container ${idOrName} within ${goneMs / 1000} s`)
    await sleep(pollMs)
  }
}

export interface Entry {
  readonly name: string
  /** Undefined for a folder. */
  readonly content?: string | Buffer
  readonly mode: number
  readonly uid: number
  readonly gid: number
}

/** Unpacks entries into a folder of the container, which need not run; parents first. What is there is replaced, folders stay. */
export async function putEntries(client: Client, idOrName: string, folder: string, entries: readonly Entry[]): Promise<void> {
  const pack = tar.pack()
  for (const {name, content, mode, uid, gid} of entries) {
    if (content === undefined) pack.entry({name: `${name}/`, type: 'directory', mode, uid, gid})
    else pack.entry({name, mode, uid, gid}, content)
  }
  pack.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of pack) chunks.push(chunk as Buffer)
  const archive = Buffer.concat(chunks)
  await client.call('write into a container', (docker, abortSignal) => docker.getContainer(idOrName).putArchive(archive, {path: folder, abortSignal} as {path: string}))
}

const largestFileBytes = 16 * 1024 ** 2

/** The file of that path, in the container, which need not run. Undefined when there is none. */
export async function getFile(client: Client, idOrName: string, path: string): Promise<string | undefined> {
  const stream = await client.find('read from a container', (docker, abortSignal) =>
    docker.getContainer(idOrName).getArchive({path, abortSignal} as {path: string})) as Readable | undefined
  if (!stream) return undefined
  const extract = tar.extract()
  stream.on('error', (error) => extract.destroy(error))
  stream.pipe(extract)
  try {
    for await (const entry of extract) {
      if (entry.header.type !== 'file' || (entry.header.size ?? 0) > largestFileBytes) return undefined
      const chunks: Buffer[] = []
      for await (const chunk of entry) chunks.push(chunk as Buffer)
      return Buffer.concat(chunks).toString('utf8')
    }
    return undefined
  } finally {
    stream.destroy()
  }
}
