/** Runs an image once, without network and without anything of ours, to learn which server is in it and where. */
import {dirname} from 'node:path/posix'
import {DbaasError} from '../../../core/errors.js'
import type {EngineSoftware} from '../options.js'
import type {Client} from './client.js'
import {refusalOf} from './errors.js'
import {splitFrames} from './frames.js'
import {hardened, masks} from './hardening.js'
import {labelsOfSite} from './labels.js'

export interface Probed {
  /** Null when its words hold no version. */
  readonly version: string | null
  readonly bin: string
  readonly uid: number
  readonly gid: number
}

const marker = '--dbaas--'
const absentCode = 40
const probeMs = 60_000

/** The program is looked for in the image's own path, then in the folders it is known to be in. */
const script = `
program=$1; shift
found=$(command -v "$program") || for pattern in "$@"; do
  for folder in $pattern; do
    if [ -z "$found" ] && [ -x "$folder/$program" ]; then found=$folder/$program; fi
  done
done
[ -n "$found" ] || exit ${absentCode}
found=$(readlink -f "$found" || echo "$found")
echo "${marker} $(id -u) $(id -g) $found"
exec "$found" --version
`

/** No such user, no shell, another processor: an image, but not one that this engine can be run from. */
const unfit = /unable to find user|executable file not found|no such file or directory|exec format error/

export interface ImageToProbe {
  readonly id: string
  readonly reference: string
  readonly volumes: readonly string[]
}

/** Throws UNKNOWN_VERSION when no server of that engine can be run in the image. */
export async function probeImage(client: Client, siteId: string, image: ImageToProbe, software: EngineSoftware): Promise<Probed> {
  const {serverProgram, systemFolders} = software.versions
  const doing = `look into the image ${image.reference}`
  const container = await client.call(doing, (docker, abortSignal) => docker.createContainer({
    Image: image.id, User: software.images.serverUser, Entrypoint: ['/bin/sh', '-c', script, 'probe', serverProgram, ...systemFolders], Cmd: [],
    Labels: labelsOfSite(siteId, 'probe'), Env: ['LC_ALL=C'],
    HostConfig: {...hardened, NetworkMode: 'none', Memory: 512 * 1024 ** 2, Mounts: masks(image.volumes)},
    abortSignal,
  }))
  try {
    const code = await client.call(doing, async (_docker, abortSignal) => {
      await container.start({abortSignal}).catch((error: unknown) => {
        const refusal = refusalOf(error)
        if (refusal && unfit.test(refusal.words)) throw isNone(image, software, refusal.words)
        throw error
      })
      return ((await container.wait({abortSignal})) as {StatusCode: number}).StatusCode
    }, {ms: probeMs})
    const output = splitFrames(await client.call(doing, (_docker, abortSignal) => container.logs({stdout: true, stderr: true, follow: false, abortSignal})))
    if (code === absentCode) throw isNone(image, software, `there is no program ${serverProgram} in it`)
    const found = new RegExp(`^${marker} (\\d+) (\\d+) (/.*)$`, 'm').exec(output)
    if (code !== 0 || !found) throw isNone(image, software, output.trim().split('\n').at(-1) || `it ended with code ${code}`)
    return {
      uid: Number(found[1]), gid: Number(found[2]), bin: dirname(found[3] as string),
      version: software.versions.parseVersion(output.slice(output.indexOf(marker)).split('\n').slice(1).join('\n')) ?? null,
    }
  } finally {
    await client.find(doing, (_docker, abortSignal) => container.remove({force: true, v: true, abortSignal}))
  }
}

const isNone = (image: ImageToProbe, software: EngineSoftware, because: string): DbaasError =>
  new DbaasError('UNKNOWN_VERSION', `the image ${image.reference} is not one of ${software.title}: ${because}`, {
    details: {image: image.reference, engine: software.name, because}, suggestions: [`--image ${software.images.repository}`, 'docker images'],
  })
