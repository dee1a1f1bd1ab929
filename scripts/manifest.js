/**
 * Writes oclif.manifest.json, by which oclif knows every command without importing one (~160 ms saved a run). It is
 * committed: a test asserts that it is fresh.
 *
 *   node scripts/manifest.js
 */
import {Plugin} from '@oclif/core'
import {readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath, pathToFileURL} from 'node:url'

/** What the built commands say of themselves, as the text of the file. */
export async function manifestText(root) {
  const plugin = new Plugin({root, type: 'core', ignoreManifest: true, errorOnManifestCreate: true, respectNoCacheDefault: true})
  await plugin.load()
  // Key order depends on the file system's; a committed file must not.
  const commands = Object.fromEntries(Object.entries(plugin.manifest.commands).sort(([a], [b]) => (a < b ? -1 : 1)))
  return `${JSON.stringify({...plugin.manifest, commands}, null, 2)}\n`
}

export async function writeManifest(root) {
  const path = join(root, 'oclif.manifest.json')
  const text = await manifestText(root)
  let before
  try {
    before = readFileSync(path, 'utf8')
  } catch {}
  if (before !== text) writeFileSync(path, text)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await writeManifest(fileURLToPath(new URL('..', import.meta.url)))
