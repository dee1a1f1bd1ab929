/** The Host of a place: files and programs of the server's user on this machine. */
import {constants} from 'node:fs'
import {access, open, readdir} from 'node:fs/promises'
import type {ExecOptions, ExecResult, Host, HostFile} from '../../../engines/host.js'
import {cleanEnvironment} from './environment.js'
import {atEdge, errnoOf} from './errors.js'
import {runProgram} from './exec.js'
import {writeAtomically} from './files.js'
import {removeTree, type Place} from './places.js'
import {listenHost} from './ports.js'
import type {ServiceUser} from './service-user.js'

export interface HostOptions {
  readonly place: Place
  readonly siteId: string
  readonly user: ServiceUser
  /** Asked when a program is needed: a version may be installed after the host was made. */
  readonly bin: () => string
  readonly port: number
  /** A program and its arguments to put before what runs (`ionice -c 3`); its programs then also run at low priority. */
  readonly behind?: readonly string[] | undefined
}

export function createHost({place, siteId, user, bin, port, behind}: HostOptions): Host {
  const address = {host: listenHost, port}
  return {
    paths: {
      get bin() {
        return bin()
      },
      data: place.data, config: place.config, log: place.log, tmp: place.tmp,
    },
    listen: address,
    address: () => address,

    exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
      const env = cleanEnvironment({home: place.tmp, bin: bin(), marks: {siteId, nodeId: place.nodeId, role: 'tool'}, extra: options.env})
      return runProgram({user, cwd: place.tmp, env, lowPriority: behind !== undefined}, [...(behind ?? []), ...argv], options)
    },

    read: (path) => atEdge(`read ${path}`, async () => {
      try {
        // not through a link: the folder is the server user's, and the agent may read more than that user
        const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
        try {
          return await file.readFile()
        } finally {
          await file.close()
        }
      } catch (error) {
        if (isAbsent(error)) return undefined
        throw error
      }
    }),

    write: (file: HostFile) => atEdge(`write ${file.path}`, () => writeAtomically(
      file.path, typeof file.content === 'string' ? file.content : new Uint8Array(file.content), file.mode ?? 0o600, user,
    )),

    exists: (path) => access(path).then(() => true, () => false),

    list: (path) => atEdge(`list ${path}`, async () => {
      try {
        return await readdir(path)
      } catch (error) {
        if (isAbsent(error)) return []
        throw error
      }
    }),

    remove: (path) => atEdge(`remove ${path}`, () => removeTree(path)),
  }
}

const isAbsent = (error: unknown): boolean => errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR'
