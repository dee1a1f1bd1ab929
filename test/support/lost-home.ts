import {rmSync} from 'node:fs'
import {join} from 'node:path'

/** All that a home knows of its instances, as a disk loses it that had the home and not the data. Its agent and its endpoint process have ended. */
export function removeKnowledge(home: string): void {
  for (const lost of ['metadata.db', 'metadata.db-wal', 'metadata.db-shm', 'audit.db', 'audit.db-wal', 'audit.db-shm', 'keys', 'ca.pem', 'endpoint', 'catalogues']) {
    rmSync(join(home, lost), {recursive: true, force: true})
  }
}
