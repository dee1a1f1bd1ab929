/** The Host of a place: its files and programs, in the server's container while that runs, else in the tool beside it. */
import {randomBytes} from 'node:crypto'
import {basename, dirname} from 'node:path/posix'
import {DbaasError} from '../../../core/errors.js'
import type {Host} from '../../../engines/host.js'
import type {ImagePin} from '../../../core/instance/instance.js'
import {runProgram} from './exec.js'
import type {Client} from './client.js'
import {putEntries} from './containers.js'
import {paths} from './recipe.js'
import type {Answer, Session} from './session.js'

/** Where things can be done now. */
export interface Seat {
  session(): Promise<Session>
  /** Keeps the container for as long as the work takes. `onNetwork`: it is on that of the servers meanwhile. */
  using<T>(work: (container: string) => Promise<T>, options?: {onNetwork?: boolean}): Promise<T>
}

export interface HostOptions {
  readonly client: Client
  /** Null where nobody knows the image yet: only the addresses can be asked then. */
  readonly image: ImagePin | null
  readonly seat: Seat
  readonly listenPort: number
  address(): {host: string; port: number}
}

const absent = 44
const scripts = {
  read: `[ -e "$1" ] || exit ${absent}; base64 < "$1"`,
  // the folder is synced too: else the new name may be gone after a power cut
  write: 't="$1.tmp-$$"; cat > "$t" && chmod "$2" "$t" && sync "$t" && mv -fT "$t" "$1" && sync "$(dirname "$1")" || { rm -f "$t"; exit 1; }',
  adopt: 'sync "$2" && mv -fT "$2" "$1" && sync "$(dirname "$1")"',
  exists: '[ -e "$1" ] || [ -h "$1" ]',
  list: '[ -d "$1" ] || exit 0; ls -A1 "$1"',
  remove: 'rm -rf "$1"',
  /** The folders of a place stay, since the one around them is not the server user's. */
  empty: '[ -d "$1" ] || exit 0; cd "$1" && rm -rf ..?* .[!.]* *',
} as const

/** The shell reads its input byte by byte; what is longer comes as an archive. */
const longBytes = 32 * 1024

const folders: readonly string[] = Object.values(paths)

export function createHost({client, image, seat, listenPort, address}: HostOptions): Host {
  const known = (): ImagePin => {
    if (image) return image
    throw new DbaasError('ENGINE_NOT_INSTALLED', 'the image of the instance is not known yet', {suggestions: ['dbaas engines list']})
  }

  async function run(script: keyof typeof scripts, doing: string, args: readonly string[], input?: Buffer, fine: readonly number[] = [0]): Promise<Answer> {
    known()
    const answer = await (await seat.session()).run(scripts[script], args, input)
    if (fine.includes(answer.code)) return answer
    throw failed(doing, answer)
  }

  async function writeLong(path: string, content: string | Buffer, mode: number): Promise<void> {
    const temporary = `${path}.tmp-${randomBytes(6).toString('hex')}`
    const {uid, gid} = known()
    try {
      await seat.using((container) => putEntries(client, container, dirname(path), [{name: basename(temporary), content, mode, uid, gid}]))
      await run('adopt', `write ${path}`, [path, temporary])
    } catch (error) {
      await run('remove', `remove ${temporary}`, [temporary]).catch(() => undefined)
      throw error
    }
  }

  return {
    paths: {
      get bin() {
        return known().bin
      },
      ...paths,
    },
    listen: {host: '0.0.0.0', port: listenPort},
    address,
    exec: (argv, options) => seat.using((container) => runProgram(client, container, known(), argv, options), {onNetwork: options?.dials ?? false}),

    async read(path) {
      const {code, output} = await run('read', `read ${path}`, [path], undefined, [0, absent])
      return code === absent ? undefined : Buffer.from(output, 'base64')
    },
    async write({path, content, mode}) {
      if (Buffer.byteLength(content) > longBytes) return writeLong(path, content, mode ?? 0o600)
      await run('write', `write ${path}`, [path, (mode ?? 0o600).toString(8)], Buffer.from(content as string))
    },
    exists: async (path) => (await run('exists', `look for ${path}`, [path], undefined, [0, 1])).code === 0,
    list: async (path) => (await run('list', `list ${path}`, [path])).output.split('\n').filter((name) => name !== ''),
    async remove(path) {
      await run(folders.includes(path) ? 'empty' : 'remove', `remove ${path}`, [path])
    },
  }
}

function failed(doing: string, {code, output}: Answer): DbaasError {
  const words = output.trim().split('\n').at(-1) || `it ended with code ${code}`
  const details = {words}
  if (/no space left on device|disk quota exceeded/i.test(output)) {
    return new DbaasError('DISK_FULL', `cannot ${doing}: the disk is full`, {details, suggestions: ['free some space, then run the command again', 'docker system df', 'dbaas doctor']})
  }
  return new DbaasError('RUNTIME_UNAVAILABLE', `cannot ${doing}: ${words}`, {details, suggestions: ['dbaas doctor']})
}
