/** PostgreSQL's own programs that write a database down and make it anew. npm's packages have none of them. */
import type {Host} from '../../host.js'
import type {CopyTools, EngineCopy, VersionStep} from '../../upgrade.js'
import {programEnv} from '../preflight.js'
import {majorOf, versions} from '../versions.js'

const programs = ['pg_dump', 'pg_dumpall', 'pg_restore', 'psql']

/** `/usr/lib/postgresql/*` + `/bin`, by what is there. */
async function expand(host: Host, pattern: string): Promise<string[]> {
  let folders = ['']
  for (const segment of pattern.split('/').filter(Boolean)) {
    if (!segment.includes('*')) {
      folders = folders.map((folder) => `${folder}/${segment}`)
      continue
    }
    const [before, after] = segment.split('*') as [string, string]
    const matches = (name: string): boolean => name.startsWith(before) && name.endsWith(after) && name.length >= before.length + after.length
    folders = (await Promise.all(folders.map(async (folder) => (await host.list(folder)).filter(matches).map((name) => `${folder}/${name}`)))).flat()
  }
  return folders
}

async function look(host: Host, folder: string): Promise<CopyTools | undefined> {
  for (const program of programs) if (!(await host.exists(`${folder}/${program}`))) return undefined
  // a package may be half there, or of another system
  const said = await host.exec([`${folder}/pg_dump`, '--version'], {env: programEnv, timeoutSeconds: 10}).catch(() => undefined)
  const version = said?.code === 0 ? versions.parseVersion(said.stdout) : undefined
  return version === undefined ? undefined : {version, folder}
}

/** It reads servers that are not newer than itself, and what it writes is read by servers that are not older. */
const fits = (version: string, {from, to}: VersionStep): boolean => majorOf(version) >= majorOf(from) && majorOf(version) <= majorOf(to)

export const findTools: EngineCopy['findTools'] = async (host, step, folders) => {
  const places = new Set([...folders, ...(await Promise.all(versions.systemFolders.map((pattern) => expand(host, pattern)))).flat()])
  const found: CopyTools[] = []
  for (const place of places) {
    const tools = await look(host, place)
    if (tools && fits(tools.version, step)) found.push(tools)
  }
  return found.sort((a, b) => b.version.localeCompare(a.version, 'en', {numeric: true}))[0]
}

export const toolHints: EngineCopy['toolHints'] = ({from, to}) => {
  const [low, high] = [majorOf(from), majorOf(to)]
  return [
    `install pg_dump, pg_dumpall, pg_restore and psql of PostgreSQL ${high}${low === high ? '' : ` (of ${low} at least)`} on the agent's machine: apt-get install postgresql-client-${high}`,
    `dbaas engines install postgresql@${high} --from URL, archive or folder that has them`,
  ]
}
