/**
 * The data of a new standby: a base backup into its folder. The log comes by itself, through the standby's own receiver, from the slot that
 * was made before: nothing but the server is needed.
 */
import type {BackupFile} from '../../backup.js'
import {openDataFolder, type DataFolder} from '../../data-folder.js'
import type {CopyOptions, CopyReport, EngineReplication, Source} from '../../replication.js'
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

async function writeFile(into: DataFolder, {path, attributes, content}: BackupFile): Promise<void> {
  if (content.kind !== 'whole') throw new DbaasError('INTERNAL', `changes of ${path} came, and all of it was asked for`)
  const file = await into.create(path, typeof attributes['mode'] === 'number' ? attributes['mode'] : 0o600)
  try {
    for await (const bytes of content.bytes) for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten
  } finally {
    await file.close()
  }
}

/** As EngineReplication.copy promises. */
export const copy: EngineReplication['copy'] = async (source: Source, host: Host, folder: string, options: CopyOptions): Promise<CopyReport> => {
  const {signal, version, limit} = options
  signal.throwIfAborted()
  await empty(host)
  await host.remove(filesOf(host).unfinished)
  const into = await openDataFolder(folder)
  try {
    const taken = await baseBackup.take(
      {address: source.host.address(), credentials: source.admin, version: source.version},
      {label: 'dbaas standby', pace: 'now', limit, previous: null},
      {begin() {}, progress: options.progress, write: async (file) => (left.has(file.path) ? undefined : writeFile(into, file))},
      signal,
    )
    if (taken.damages.length > 0) {
      throw new DbaasError('INTEGRITY_MISMATCH', `the source has ${taken.damages.length} damaged pages (the first: ${taken.damages[0]?.path}): a copy would have them, too`, {suggestions: ['dbaas doctor']})
    }
    for (const {path, mode} of taken.folders) await into.makeFolder(path, mode)
    await prepareBoot(host, {role: 'standby', upstream: null})
    await seal(host, version)
    return {files: taken.files, bytes: taken.bytes, timeline: parseTimeline(taken.timeline), position: BigInt(parseLsn(taken.end))}
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw new DbaasError('DISK_FULL', 'there is no room for a copy of the data', {cause: error, suggestions: ['make room where the data of instances is: dbaas doctor']})
    throw error
  }
}
