/**
 * The data of a new standby: a base backup into its folder. The log comes by itself, through the standby's own receiver, from the slot that
 * was made before: nothing but the server is needed.
 */
import type {Readable} from 'node:stream'
import tar from 'tar-stream'
import type {BackupFile} from '../../backup.js'
import {openDataFolder} from '../../data-folder.js'
import type {CopyOptions, CopyReport, EngineReplication, Source, Unpack} from '../../replication.js'
import type {Host} from '../../host.js'
import {DbaasError} from '../../../core/errors.js'
import {baseBackup} from '../backup/base-backup.js'
import {manifestPath} from '../backup/manifest.js'
import {parseLsn, parseTimeline} from '../backup/lsn.js'
import {filesOf} from '../files.js'
import {markerName, seal} from '../initialise.js'
import {prepareBoot} from './settings.js'

/** Not copied: the marker says that the data are whole, and so comes last; the list is of use to a backup alone. */
const left = new Set([markerName, manifestPath])

/** The marker first: from then on it counts as nothing. */
async function empty(host: Host): Promise<void> {
  await host.remove(`${host.paths.data}/${markerName}`)
  for (const name of await host.list(host.paths.data)) await host.remove(`${host.paths.data}/${name}`)
}

interface Writer {
  makeFolder(path: string, mode: number): Promise<void>
  write(file: BackupFile): Promise<void>
  /** Resolves when all of it is there. */
  end(): Promise<void>
  /** Nothing of it is being written any more when this resolves. */
  abandon(because: Error): Promise<void>
}

const modeOf = ({attributes}: BackupFile): number => (typeof attributes['mode'] === 'number' ? attributes['mode'] : 0o600)

function wholeOf({path, content}: BackupFile): BackupFile['content'] & {readonly kind: 'whole'} {
  if (content.kind === 'whole') return content
  throw new DbaasError('INTERNAL', `changes of ${path} came, and all of it was asked for`)
}

/** Into an archive that is unpacked while it is made. Folders that are only told of at the end are there by then. */
function archiverTo(unpack: Unpack): Writer {
  const pack = tar.pack()
  // thrown to whoever writes, and told to whoever unpacks
  pack.on('error', () => undefined)
  const unpacking = unpack(pack as unknown as Readable)
  /** Ends whatever waits for room in an archive that nobody reads any more. */
  const broken = unpacking.then(() => new Promise<never>(() => undefined))
  broken.catch(() => undefined)

  const add = (header: Parameters<typeof pack.entry>[0], fill: (sink: ReturnType<typeof pack.entry>) => Promise<void>): Promise<void> => {
    const added = new Promise<void>((resolve, reject) => {
      const sink = pack.entry(header, (error) => (error ? reject(error) : resolve()))
      // said by the callback
      sink.on('error', () => undefined)
      fill(sink).catch((error: Error) => sink.destroy(error))
    })
    return Promise.race([added, broken]).catch(async (error: Error) => {
      pack.destroy(error)
      // who unpacks knows better why than who was kept from going on
      await unpacking
      throw error
    })
  }

  return {
    makeFolder: (path, mode) => add({name: `${path}/`, type: 'directory', mode}, async () => undefined),
    write(file) {
      const {size, bytes} = wholeOf(file)
      return add({name: file.path, type: 'file', mode: modeOf(file), size}, async (sink) => {
        // a portion is the reader's again when the next one is asked for
        for await (const portion of bytes) {
          if (sink.write(Buffer.from(portion))) continue
          await new Promise<void>((resolve) => {
            for (const event of ['drain', 'close']) sink.once(event, () => resolve())
          })
        }
        sink.end(undefined)
      })
    },
    async end() {
      pack.finalize()
      await unpacking
    },
    async abandon(because) {
      pack.destroy(because)
      await unpacking.catch(() => undefined)
    },
  }
}

/** Into a folder that this process can reach. Nothing is synced: that is done at once, at the end. */
async function writerInto(path: string): Promise<Writer> {
  const folder = await openDataFolder(path)
  return {
    makeFolder: folder.makeFolder,
    async end() {},
    async abandon() {},
    async write(backed) {
      const {bytes: portions} = wholeOf(backed)
      const file = await folder.create(backed.path, modeOf(backed))
      try {
        for await (const bytes of portions) for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten
      } finally {
        await file.close()
      }
    },
  }
}

/** As EngineReplication.copy promises. */
export const copy: EngineReplication['copy'] = async (source: Source, host: Host, into: string | Unpack, options: CopyOptions): Promise<CopyReport> => {
  const {signal, version, limit} = options
  signal.throwIfAborted()
  await empty(host)
  await host.remove(filesOf(host).unfinished)
  const writer = typeof into === 'string' ? await writerInto(into) : archiverTo(into)
  try {
    const taken = await baseBackup.take(
      {address: source.host.address(), credentials: source.admin, version: source.version},
      {label: 'dbaas standby', pace: 'now', limit, previous: null},
      {begin() {}, progress: options.progress, write: async (file) => (left.has(file.path) ? undefined : writer.write(file))},
      signal,
    )
    if (taken.damages.length > 0) {
      throw new DbaasError('INTEGRITY_MISMATCH', `the source has ${taken.damages.length} damaged pages (the first: ${taken.damages[0]?.path}): a copy would have them, too`, {suggestions: ['dbaas doctor']})
    }
    for (const {path, mode} of taken.folders) await writer.makeFolder(path, mode)
    await writer.end()
    await prepareBoot(host, {role: 'standby', upstream: null})
    await seal(host, version)
    return {files: taken.files, bytes: taken.bytes, timeline: parseTimeline(taken.timeline), position: BigInt(parseLsn(taken.end))}
  } catch (error) {
    await writer.abandon(error as Error)
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw new DbaasError('DISK_FULL', 'there is no room for a copy of the data', {cause: error, suggestions: ['make room where the data of instances is: dbaas doctor']})
    throw error
  }
}
