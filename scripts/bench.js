/** `npm run bench -- NAME [arguments]` runs bench/NAME.ts; without a name it lists them. */
import {spawnSync} from 'node:child_process'
import {existsSync, readdirSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const [name, ...rest] = process.argv.slice(2)
const file = join(root, 'bench', `${name}.ts`)
if (name === undefined || !/^[a-z-]+$/.test(name) || !existsSync(file)) {
  // Those that are run say how in their first lines; the others are what they share.
  const names = readdirSync(join(root, 'bench')).filter((entry) => entry.endsWith('.ts') && !/^(support|proxy-)/.test(entry)).map((entry) => entry.slice(0, -3))
  process.stderr.write(`npm run bench -- NAME, where NAME is one of: ${names.join(', ')}\n`)
  process.exitCode = 2
} else {
  process.exitCode = spawnSync(process.execPath, ['--import', 'tsx', file, ...rest], {cwd: root, stdio: 'inherit'}).status ?? 1
}
