/** Where the agent of a home listens: one rule for the CLI that connects and the agent that binds. */
import {lstatSync, mkdirSync, realpathSync, rmdirSync} from 'node:fs'
import {basename, dirname, join, resolve} from 'node:path'
import {DbaasError} from '../../core/errors.js'

/** Bytes that every system accepts in `sun_path` with room to spare: macOS has 104 with the NUL, Linux 108. */
const limitBytes = 100

/**
 * `<home>/agent.sock`, or, where that is too long for a socket, `/tmp/dbaas-<uid>/<hash of the home>/agent.sock` in
 * folders of our own. Only who binds makes them (`make`): who merely looks for an agent leaves no trace. `root` replaces
 * /tmp in tests; never `os.tmpdir()`, because CLI and agent must agree although they may run under different TMPDIRs.
 * Throws HOME_UNUSABLE.
 */
export function agentSocketPath(home: string, {root = '/tmp', make = true}: {root?: string; make?: boolean} = {}): string {
  // Judged and hashed by its real path: whoever reaches the home through a link must come to the same socket.
  const real = realPathOf(resolve(home))
  const preferred = join(real, 'agent.sock')
  if (Buffer.byteLength(preferred) <= limitBytes) return preferred
  // Loaded here: every command passes this way, and few have such a home.
  const {createHash} = process.getBuiltinModule('node:crypto')
  const own = join(root, `dbaas-${process.getuid?.() ?? 'user'}`)
  const folder = join(own, createHash('sha256').update(real).digest('hex').slice(0, 16))
  for (const path of [own, folder]) {
    if (make) makeOwnFolder(path, home)
    else if (!lstatSync(path, {throwIfNoEntry: false})) break
    refuseStrange(path, home)
  }
  return join(folder, 'agent.sock')
}

/** Removes the folders that `agentSocketPath` made for a long home, as far as they are empty. */
export function leaveSocketFolder(socketPath: string): void {
  const folder = dirname(socketPath)
  if (!/\/dbaas-[^/]+\/[0-9a-f]{16}$/.test(folder)) return
  for (const path of [folder, dirname(folder)]) {
    try {
      rmdirSync(path)
    } catch {
      // agents of other homes have their sockets there
      return
    }
  }
}

/** The real path also of what is not there yet: of its nearest ancestor that is, and the rest as written. */
function realPathOf(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    const parent = dirname(path)
    return parent === path ? path : join(realPathOf(parent), basename(path))
  }
}

/** /tmp is everybody's: somebody else's folder of that name may wait for our socket. A link is no folder here. */
function makeOwnFolder(path: string, home: string): void {
  try {
    mkdirSync(path, {mode: 0o700})
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST')
      throw unusable(path, home, `it cannot be made (${(error as NodeJS.ErrnoException).code})`)
  }
}

function refuseStrange(path: string, home: string): void {
  const found = lstatSync(path)
  if (!found.isDirectory()) throw unusable(path, home, 'it is not a folder')
  if (process.getuid && found.uid !== process.getuid()) throw unusable(path, home, 'it belongs to another user')
  if ((found.mode & 0o077) !== 0) throw unusable(path, home, 'other users may enter it')
}

const unusable = (path: string, home: string, why: string): DbaasError =>
  new DbaasError(
    'HOME_UNUSABLE',
    `the folder ${path}, needed because the path of the home ${home} is too long for a socket, cannot be used: ${why}`,
    {
      details: {path, home},
      suggestions: [`ls -ld ${path}`, 'export DBAAS_HOME="$HOME/.dbaas"   # any shorter path does'],
    },
  )
