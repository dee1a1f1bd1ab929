/** Engines that the system has: found by the folders an engine knows, asked for their version, never changed. */
import {execFileSync} from 'node:child_process'
import {accessSync, constants, readdirSync, realpathSync, statSync} from 'node:fs'
import {join} from 'node:path'
import type {EngineVersions} from '../../../engines/engine.js'
import type {EngineSoftware} from '../options.js'
import type {InstalledVersion} from '../runtime.js'
import type {ServiceUser} from './service-user.js'

/** An installation may come and go under a running agent. */
const freshMs = 30_000

export type SystemVersions = ReturnType<typeof createSystemVersions>

export function createSystemVersions(user: ServiceUser, engines: Readonly<Record<string, EngineSoftware>>) {
  const seen = new Map<string, {at: number; versions: readonly InstalledVersion[]}>()
  /**
   * What a program said, by its path, what that leads to, and the moment it was changed: asking costs a process. What it
   * means each engine reads for itself: /usr/sbin/mysqld may be a link to MariaDB's server.
   */
  const answers = new Map<string, string>()

  /** Newest answer at most 30 s old. One entry for a version, the first folder of the engine's list that has it. */
  function list(engine: string): readonly InstalledVersion[] {
    const before = seen.get(engine)
    if (before && Date.now() - before.at < freshMs) return before.versions
    const versions = engines[engine] ? find(engines[engine].versions) : []
    seen.set(engine, {at: Date.now(), versions})
    return versions
  }

  function find(versions: EngineVersions): InstalledVersion[] {
    const found = new Map<string, InstalledVersion>()
    for (const pattern of versions.systemFolders) {
      for (const folder of expand(pattern)) {
        const program = join(folder, versions.serverProgram)
        const version = ask(program, versions)
        if (version === undefined || found.has(version) || !versions.supports(version)) continue
        // where a link such as /usr/local/bin/postgres leads are the other programs too
        found.set(version, {version, source: 'system', bin: folder, image: null})
      }
    }
    return [...found.values()]
  }

  function ask(program: string, versions: EngineVersions): string | undefined {
    let key: string
    try {
      accessSync(program, constants.X_OK)
      key = `${program} ${realpathSync(program)} ${statSync(program).mtimeMs}`
    } catch {
      return undefined
    }
    const said = answers.get(key) ?? output(program)
    answers.set(key, said)
    return versions.parseVersion(said)
  }

  /** As the server's user: a program that it cannot run is not there for us. */
  function output(program: string): string {
    try {
      return execFileSync(program, ['--version'], {
        encoding: 'utf8', timeout: 5000, cwd: '/', env: {LANG: 'C', PATH: '/usr/bin:/bin'}, stdio: ['ignore', 'pipe', 'ignore'],
        ...(user.separate ? {uid: user.uid, gid: user.gid} : {}),
      })
    } catch {
      return ''
    }
  }

  return {list}
}

/** `/usr/lib/postgresql/*` + `/bin`: `*` stands for any part of one segment. Existing folders only, highest names first. */
export function expand(pattern: string): string[] {
  let folders = ['/']
  for (const segment of pattern.split('/').filter(Boolean)) {
    const matches = segment.includes('*') ? new RegExp(`^${segment.split('*').map(escape).join('[^/]*')}$`) : undefined
    folders = folders.flatMap((folder) => {
      if (!matches) return [join(folder, segment)]
      try {
        const names = readdirSync(folder).filter((name) => matches.test(name))
        return names.sort((a, b) => b.localeCompare(a, 'en', {numeric: true})).map((name) => join(folder, name))
      } catch {
        return []
      }
    })
  }
  return folders.filter((folder) => statSync(folder, {throwIfNoEntry: false})?.isDirectory())
}

const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
