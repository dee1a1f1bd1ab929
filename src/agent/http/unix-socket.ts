import type {Server} from 'node:http'
import {lstatSync, mkdirSync, unlinkSync} from 'node:fs'
import {connect} from 'node:net'
import {dirname} from 'node:path'
import {DbaasError} from '../../core/errors.js'

/** macOS: 104 with the NUL; Linux: 108. */
const longestPathBytes = 103

/**
 * Listens on the path, which only this user can open from the first moment: bind() makes the file under the umask, and
 * a chmod afterwards would come after whoever waited for it. What a killed agent left is replaced; a socket that
 * answers, or a file that is no socket, is not. Parents are made (0700). Throws HOME_UNUSABLE.
 */
export async function listenOnUnixSocket(server: Server, path: string): Promise<void> {
  // libuv cuts a longer path off without a word, and listens somewhere else.
  if (Buffer.byteLength(path) > longestPathBytes) throw unusable(path, 'its path is too long for a socket')
  mkdirSync(dirname(path), {recursive: true, mode: 0o700})
  await removeStale(path)
  await new Promise<void>((resolve, reject) => {
    const failed = (error: Error): void => reject(unusable(path, error.message, error))
    server.once('error', failed)
    const before = process.umask(0o177)
    try {
      // Binding a path happens inside this call; only the telling comes later.
      server.listen({path}, () => {
        server.off('error', failed)
        resolve()
      })
    } finally {
      process.umask(before)
    }
  })
}

async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, {throwIfNoEntry: false})
  if (!found) return
  if (!found.isSocket()) throw unusable(path, 'something that is no socket has its name')
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy()
      resolve(true)
    })
    probe.once('error', () => resolve(false))
  })
  if (alive) throw unusable(path, 'another process listens there')
  unlinkSync(path)
}

const unusable = (path: string, why: string, cause?: unknown): DbaasError =>
  new DbaasError('HOME_UNUSABLE', `the agent cannot listen on ${path}: ${why}`, {
    cause,
    details: {path},
    suggestions: ['dbaas agent stop', `ls -l '${path}'`],
  })
