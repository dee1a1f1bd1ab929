/** The command BASE_BACKUP, and the two ways in which servers answer it (PostgreSQL documentation, 54.4). */
import {DbaasError} from '../../../core/errors.js'
import {majorOf} from '../versions.js'
import {literal, type Conversation, type Row} from './session.js'

export interface BaseBackupChoices {
  readonly label: string
  readonly pace: 'now' | 'gently'
  readonly incremental: boolean
}

/**
 * The log comes by itself, so none is asked for, nor that the server wait for an archive. Links to tablespaces come as links.
 * The server's checks of pages stay on: it can read a page again that was written while it read.
 */
export function baseBackupCommand(version: string, {label, pace, incremental}: BaseBackupChoices): string {
  if (majorOf(version) < 15) return `BASE_BACKUP LABEL ${literal(label)} PROGRESS ${pace === 'now' ? 'FAST ' : ''}NOWAIT MANIFEST 'yes' MANIFEST_CHECKSUMS 'SHA256'`
  const options = [
    `LABEL ${literal(label)}`, 'PROGRESS true', `CHECKPOINT '${pace === 'now' ? 'fast' : 'spread'}'`, 'WAL false', 'WAIT false', "MANIFEST 'yes'",
    "MANIFEST_CHECKSUMS 'SHA256'", ...(incremental ? ['INCREMENTAL'] : []),
  ]
  return `BASE_BACKUP (${options.join(', ')})`
}

export interface BaseBackupAnswer {
  /** The checkpoint is done; `totalBytes` as the server expects it. */
  start(place: {lsn: string; timeline: string}, totalBytes: number): void
  /** An archive begins: of a tablespace (its object id), or of the data folder (null). */
  archive(tablespace: string | null): void
  manifest(): void
  /** Of the archive or the manifest that began last. */
  data(bytes: Buffer): void
  done(place: {lsn: string; timeline: string}): void
}

const wrong = (because: string): DbaasError => new DbaasError('INTEGRITY_MISMATCH', `the server's answer to BASE_BACKUP is not understood: ${because}`)

export function readBaseBackup(version: string, answer: BaseBackupAnswer): Conversation {
  const rows: Row[] = []
  let copied = false
  let tablespaces: Row[] = []
  let archives = 0

  const place = (row: Row | undefined): {lsn: string; timeline: string} => {
    const [lsn, timeline] = Object.values(row ?? {})
    if (!lsn || !timeline) throw wrong('a position is missing')
    return {lsn, timeline}
  }
  /** Before the first archive: where it starts, and the tablespaces. */
  function begin(): void {
    copied = true
    const [start, ...found] = rows.splice(0)
    tablespaces = found
    answer.start(place(start), found.reduce((sum, row) => sum + Number(row['size'] ?? 0) * 1024, 0))
  }
  const common = {
    row: (row: Row) => void rows.push(row),
    complete: () => {
      if (copied && rows.length > 0) answer.done(place(rows.splice(0)[0]))
    },
  }
  // Before 15 each archive is a copy of its own, in the order of the tablespaces, and the manifest is the last.
  if (majorOf(version) < 15) {
    return {
      ...common,
      copyOut() {
        if (!copied) begin()
        const next = tablespaces[archives++]
        if (next) answer.archive(next['spcoid'] ?? null)
        else answer.manifest()
      },
      copyPart: (part) => answer.data(part),
    }
  }
  let kind = 0
  /** A message that is short, but may come in parts all the same. */
  let short: Buffer[] = []
  const named = (): void => {
    const name = Buffer.concat(short)
    const end = name.indexOf(0)
    if (end === -1) return
    short = []
    answer.archive(/^(\d+)\.tar$/.exec(name.toString('utf8', 0, end))?.[1] ?? null)
    kind = 0
  }
  return {
    ...common,
    copyOut: begin,
    copyPart(part, isStart) {
      if (isStart) kind = part[0] as number
      const rest = isStart ? part.subarray(1) : part
      if (kind === messages.data) answer.data(rest)
      else if (kind === messages.archive) {
        short.push(Buffer.from(rest))
        named()
      } else if (kind === messages.manifest && isStart) answer.manifest()
      // progress: how many bytes are done, which we know; and what follows the name of an archive: where it was
      else if (isStart && kind !== messages.progress) throw wrong(`a message is of the kind ${kind}`)
    },
  }
}

/** First bytes of messages in the copy. */
const messages = {data: 0x64, manifest: 0x6d, archive: 0x6e, progress: 0x70} as const
