import {readdir} from 'node:fs/promises'
import {join} from 'node:path'
import {isNamePart} from '../repository.js'

/**
 * Names of the files below `root` that begin with `prefix` and come after `after`, ordered as whole names are in a
 * bucket: `a-b` before `a/b`, because `-` comes before `/`. Folders that cannot hold any are not read.
 */
export async function* walk(root: string, prefix: string, after: string | undefined, base = ''): AsyncGenerator<string> {
  const entries = await readdir(join(root, base), {withFileTypes: true}).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' && base !== '') return []
    throw error
  })
  const names = entries
    // What is not ours is passed by, `lost+found` for one, which only root may read.
    .filter((entry) => isNamePart(entry.name) && (entry.isDirectory() || entry.isFile()))
    .map((entry) => base + entry.name + (entry.isDirectory() ? '/' : ''))
    .sort((a, b) => (a < b ? -1 : 1))
  for (const name of names) {
    if (name.endsWith('/')) {
      const canMatch = name.startsWith(prefix) || prefix.startsWith(name)
      const canFollow = after === undefined || name > after || after.startsWith(name)
      if (canMatch && canFollow) yield* walk(root, prefix, after, name)
    } else if (name.startsWith(prefix) && (after === undefined || name > after)) yield name
  }
}
