/**
 * What data directories are prepared for: what was made on a runtime lately, whether an instance of it lives or not; and
 * on the default runtime, where nothing was yet, what is there without a download. The one place that decides it.
 */
import {DbaasError} from '../../../core/errors.js'
import type {Engine} from '../../../engines/engine.js'
import type {DataMaker, Software} from '../../runtimes/runtime.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'

/** Who has not made one for so long will wait for the next. */
const rememberedMs = 7 * 86_400_000

/** Setting: the software that was last asked for on a runtime, of an engine, and when. */
const settingOf = (runtime: string, engine: string): string => `software.used:${runtime}/${engine}`

interface Used extends Pick<Software, 'version' | 'image'> {
  readonly at: number
}

/** What the server of the directory runs from is part of it: another image may have another C library, or another user. */
export const poolKeyOf = (engine: Engine, {version, image}: Pick<Software, 'version' | 'image'>): string =>
  `${engine.lifecycle.poolKey(version)}${image === null ? '' : `@${image.id}`}`

export const makerOf = ({lifecycle}: Engine, version: string): DataMaker => ({
  make: (host) => lifecycle.make(host, version),
  seal: (host) => lifecycle.seal(host, version),
})

/** To be called with what an instance is made from. */
export async function rememberUse(tx: Tx, runtime: string, {engine, version, image}: Software, at: number): Promise<void> {
  await tx.settings.put(settingOf(runtime, engine), JSON.stringify({version, image, at} satisfies Used))
}

export type Prepared = ReturnType<typeof createPrepared>

export function createPrepared(context: ServiceContext, platform: string) {
  async function wantedOf(runtime: string, engineName: string): Promise<Software | undefined> {
    const kept = await context.store.read('platform', (tx) => tx.settings.get(settingOf(runtime, engineName)))
    const used = kept === undefined ? undefined : JSON.parse(kept) as Used
    if (used && context.clock.now() - used.at <= rememberedMs) return {engine: engineName, version: used.version, image: used.image}
    if (runtime !== context.runtimes.default) return undefined
    // a server that the machine happens to have is no reason: nobody may ever want it here
    const version = context.engines.get(engineName).versions.known(platform).find((each) => each.bundled)?.version
      ?? (await context.runtimes.get(runtime).software.installed(engineName)).find((each) => each.source === 'archive')?.version
    return version === undefined ? undefined : {engine: engineName, version, image: null}
  }

  /** At most one for each engine. Asks only the default runtime. */
  async function wanted(runtime: string): Promise<Software[]> {
    const found = await Promise.all(context.engines.names.map((engine) => wantedOf(runtime, engine)))
    return found.filter((each) => each !== undefined)
  }

  return {
    wanted,
    keys: async (runtime: string): Promise<ReadonlySet<string>> =>
      new Set((await wanted(runtime)).map((each) => poolKeyOf(context.engines.get(each.engine), each))),
  }
}

/** The programs, or the image, were removed meanwhile: nobody asked for them, so it is no failure. */
export const isSoftwareGone = (error: unknown): boolean =>
  error instanceof DbaasError && (error.code === 'IMAGE_NOT_FOUND' || error.code === 'ENGINE_NOT_INSTALLED')
