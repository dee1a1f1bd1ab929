/**
 * What is known of images by their id: which version of which engine is in them, and where. Learnt by running them, so
 * it is kept in a file; an id names the same content for ever, so nothing in it gets old. Losing the file costs one
 * look into each image, and that `remove` no longer knows what was pulled; so nothing fails because it cannot be written
 * (a full disk), and whatever is learnt next tries again.
 */
import {randomBytes} from 'node:crypto'
import {mkdir, open, readFile, rename, rm} from 'node:fs/promises'
import {dirname, join} from 'node:path'

export interface ImageRecord {
  readonly engine: string
  /** Full. Null: no server of that engine is in it, or its version cannot be read. */
  readonly version: string | null
  readonly bin: string
  readonly uid: number
  readonly gid: number
  /** The reference it was pulled by; null when it was there already. */
  readonly pulledAs: string | null
}

export interface ImageRecords {
  get(engine: string, id: string): Promise<ImageRecord | undefined>
  put(id: string, record: ImageRecord): Promise<void>
  remove(engine: string, id: string): Promise<void>
  ofEngine(engine: string): Promise<ReadonlyMap<string, ImageRecord>>
}

export function createImageRecords(dataRoot: string): ImageRecords {
  const file = join(dataRoot, 'docker', 'images.json')
  let loading: Promise<Map<string, ImageRecord>> | undefined
  let writing: Promise<void> = Promise.resolve()

  const load = (): Promise<Map<string, ImageRecord>> => (loading ??= readFile(file, 'utf8').then(parse, () => new Map()))

  const keyOf = (engine: string, id: string): string => `${engine} ${id}`

  async function save(): Promise<void> {
    const content = `${JSON.stringify(Object.fromEntries(await load()), null, 2)}\n`
    // one after the other: the last one written is the last one said
    writing = writing.then(() => writeAtomically(file, content), () => writeAtomically(file, content))
    return writing.catch(() => undefined)
  }

  return {
    get: async (engine, id) => (await load()).get(keyOf(engine, id)),
    async put(id, record) {
      ;(await load()).set(keyOf(record.engine, id), record)
      await save()
    },
    async remove(engine, id) {
      if ((await load()).delete(keyOf(engine, id))) await save()
    },
    async ofEngine(engine) {
      const start = keyOf(engine, '')
      return new Map([...(await load())].filter(([key]) => key.startsWith(start)).map(([key, record]) => [key.slice(start.length), record]))
    },
  }
}

function parse(text: string): Map<string, ImageRecord> {
  try {
    const entries = Object.entries(JSON.parse(text) as Record<string, ImageRecord>)
    return new Map(entries.filter(([, record]) => typeof record.engine === 'string' && typeof record.bin === 'string'))
  } catch {
    return new Map()
  }
}

async function writeAtomically(path: string, content: string): Promise<void> {
  await mkdir(dirname(path), {recursive: true, mode: 0o700})
  const temporary = `${path}.tmp-${randomBytes(6).toString('hex')}`
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, {force: true})
    throw error
  }
}
