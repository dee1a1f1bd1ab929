/**
 * A copy of a running server's data folder by its file system, made whole by the log that lies beside it: a low-level base
 * backup (PostgreSQL documentation, 25.3.3) whose copy costs nothing.
 */
import {DbaasError} from '../../../core/errors.js'
import type {FileCopy} from '../../backup.js'
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import {asAdmin} from '../client.js'
import {parseLsn, segmentBytes, segmentName, startOfSegment} from './lsn.js'

const log = 'pg_wal/'
/** What belongs to the process that runs, or is made anew at every start (basebackup.c, excludeDirContents and excludeFiles). */
const emptied = ['pg_dynshmem/', 'pg_notify/', 'pg_replslot/', 'pg_serial/', 'pg_snapshots/', 'pg_stat_tmp/', 'pg_subtrans/']
const left = /^(?:postmaster\.(?:pid|opts)|backup_label|backup_manifest|tablespace_map|current_logfiles|.*pg_internal\.init(?:\..*)?|(?:.*\/)?pgsql_tmp.*)$/

const isData = (path: string): boolean => !left.test(path) && !path.startsWith(log) && !emptied.some((folder) => path.startsWith(folder) && path !== folder)

export async function cloneFiles(source: Host, target: Host, admin: AdminCredentials, copy: FileCopy): Promise<void> {
  await asAdmin(source, admin, async (client) => {
    const {rows: [begun]} = await client.query<{lsn: string}>("select pg_backup_start('dbaas clone', true)::text as lsn")
    await copy(isData)
    const {rows: [ended]} = await client.query<{lsn: string; labelfile: string; spcmapfile: string; timeline: number}>(
      'select lsn::text, labelfile, spcmapfile, (select timeline_id from pg_control_checkpoint()) as timeline from pg_backup_stop(false)',
    )
    if (!begun || !ended) throw new DbaasError('INTERNAL', 'the server did not say where its backup is')
    if (ended.spcmapfile !== '') throw new DbaasError('NOT_SUPPORTED', 'a server with tablespaces cannot be copied by its file system')
    await copy((path) => path === log || (path.startsWith(log) && !path.startsWith(`${log}summaries/`)))
    const there = new Set(await target.list(`${target.paths.data}/pg_wal`))
    const end = parseLsn(ended.lsn)
    for (let at = startOfSegment(parseLsn(begun.lsn)); at < end; at += segmentBytes) {
      const name = segmentName(ended.timeline, at)
      if (!there.has(name)) throw new DbaasError('NOT_SUPPORTED', `the server has recycled the log that the copy needs: ${name}`)
    }
    await target.write({path: `${target.paths.data}/backup_label`, content: ended.labelfile})
  })
}
