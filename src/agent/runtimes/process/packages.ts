/** Finds an installed npm package by looking, not by `require.resolve`: the packages of engines export no files. */
import {readFile, realpath} from 'node:fs/promises'
import {basename, dirname, join} from 'node:path'

/**
 * The folder of that very version of a package, as Node would find it from `from`: in its `node_modules` (a clone, a
 * project), beside it (npm's global folder, flat), or further up; also from where a link to it really leads.
 */
export async function findPackage(from: string, name: string, version: string): Promise<string | undefined> {
  const real = await realpath(from).catch(() => from)
  for (const start of new Set([from, real])) {
    for (let folder = start; ; folder = dirname(folder)) {
      const candidate = basename(folder) === 'node_modules' ? join(folder, name) : join(folder, 'node_modules', name)
      if ((await versionOf(candidate)) === version) return candidate
      if (dirname(folder) === folder) break
    }
  }
  return undefined
}

async function versionOf(folder: string): Promise<string | undefined> {
  try {
    return (JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as {version?: string}).version
  } catch {
    return undefined
  }
}
