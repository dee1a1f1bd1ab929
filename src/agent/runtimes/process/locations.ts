/** Where a runtime's data lives for a home (DECISIONS.md 1). */
import {createHash} from 'node:crypto'
import {lstat, readFile, realpath, stat} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {DbaasError} from '../../../core/errors.js'
import {atEdge} from './errors.js'
import {makeFolder, writeAtomically} from './files.js'
import {serviceUser, type ServiceUser} from './service-user.js'

export const sharedRoot = '/var/lib/dbaas'

/**
 * The folder below which servers, their data and their programs live: the home itself, unless the server's user
 * cannot traverse the way to it (root's home); then `/var/lib/dbaas/<hash of the home's real path>`, made here, 0711,
 * with a file `home` that names the home it belongs to. The home must exist. Throws HOME_UNUSABLE.
 */
export async function resolveDataRoot(home: string, shared: string = sharedRoot): Promise<string> {
  return atEdge(`use the home ${home}`, async () => {
    const real = await realpath(home)
    await refuseWorldWritable(real)
    const user = await serviceUser()
    return speakable(!user.separate || (await canTraverse(real, user)) ? real : await sharedFolder(real, shared))
  })
}

/**
 * initdb, and programs like it, hand their own path to a shell, between double quotes: these characters would end them,
 * or be obeyed. Spaces and every letter of every script are fine.
 */
function speakable(path: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a line break in a path is what is looked for
  const bad = /["$`\\\u0000-\u001F]/.exec(path)?.[0]
  if (bad === undefined) return path
  throw new DbaasError('HOME_UNUSABLE', `database programs cannot run below ${path}: its path has the character ${JSON.stringify(bad)}`, {
    details: {path, character: bad}, suggestions: ['export DBAAS_HOME="$HOME/.dbaas"', 'rename the folder'],
  })
}

/** The way to `path`, from the root of the file system down to itself. */
function wayTo(path: string): string[] {
  const parent = dirname(path)
  return parent === path ? [path] : [...wayTo(parent), path]
}

async function canTraverse(path: string, user: ServiceUser): Promise<boolean> {
  for (const folder of wayTo(path)) {
    const {mode, uid, gid} = await stat(folder)
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001
    if ((mode & bit) === 0) return false
  }
  return true
}

/** Who may write a folder of the way can put another one in its place, unless it is sticky. */
async function refuseWorldWritable(path: string): Promise<void> {
  for (const folder of wayTo(path)) {
    const {mode} = await stat(folder)
    if ((mode & 0o002) !== 0 && (mode & 0o1000) === 0) {
      throw new DbaasError('HOME_UNUSABLE', `${folder} is writable by everybody, so ${path} cannot be trusted`, {
        details: {path, folder}, suggestions: [`chmod o-w ${folder}`, 'set DBAAS_HOME to another folder'],
      })
    }
  }
}

async function sharedFolder(home: string, shared: string): Promise<string> {
  const folder = join(shared, createHash('sha256').update(home).digest('hex').slice(0, 16))
  await refuseWorldWritable(dirname(shared))
  for (const path of [shared, folder]) {
    await makeFolder(path, 0o711)
    const found = await lstat(path)
    if (!found.isDirectory() || found.uid !== 0) {
      throw new DbaasError('HOME_UNUSABLE', `${path} is not a folder of root`, {details: {path}, suggestions: [`ls -ld ${path}`]})
    }
  }
  const label = join(folder, 'home')
  const named = await readFile(label, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (named === undefined) await writeAtomically(label, `${home}\n`, 0o600)
  else if (named.trimEnd() !== home) {
    throw new DbaasError('HOME_UNUSABLE', `${folder} belongs to the home ${named.trimEnd()}, not to ${home}`, {
      details: {path: folder, home}, suggestions: ['set DBAAS_HOME to another folder'],
    })
  }
  return folder
}
