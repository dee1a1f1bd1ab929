import {rmSync} from 'node:fs'
import {join} from 'node:path'
import {setTimeout as pause} from 'node:timers/promises'
import {processesOf, type Site} from './site.js'

/** All that a home knows of its instances, as a disk loses it that had the home and not the data. Its agent and its endpoint process have ended. `but`: what is put back. */
export function removeKnowledge(home: string, but: readonly string[] = []): void {
  for (const lost of ['metadata.db', 'metadata.db-wal', 'metadata.db-shm', 'audit.db', 'audit.db-wal', 'audit.db-shm', 'keys', 'ca.pem', 'endpoint', 'catalogues']) {
    if (!but.includes(lost)) rmSync(join(home, lost), {recursive: true, force: true})
  }
}

/** Ends all that is dbaas's own, at once and without a word, and removes what it knew. */
export async function loseHome(site: Site, but: readonly string[] = []): Promise<void> {
  const {agent} = await site.json('api', 'GET', '/v1/agent')
  // the endpoint process brings its agent back, and the agent its endpoint process
  const both = [...processesOf([site.home]).filter(({what}) => /endpoint/.test(what)).map(({pid}) => pid), agent.pid]
  for (const pid of both) process.kill(pid, 'SIGKILL')
  removeKnowledge(site.home, but)
  await pause(200)
}
