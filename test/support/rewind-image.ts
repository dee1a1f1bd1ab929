/**
 * An image of the PostgreSQL 15 that Debian has on this machine: it has pg_rewind, as official images have and the image of the tests has not.
 * Its server and what that needs, upon the image of the tests, of the same Debian.
 */
import {execFileSync} from 'node:child_process'
import {cpSync, existsSync, mkdirSync, realpathSync, writeFileSync} from 'node:fs'
import {dirname, join} from 'node:path'
import {images} from './docker.js'
import {needOrSkip} from './need.js'
import {temporaryFolder} from './temporary.js'

const folders = ['/usr/lib/postgresql/15', '/usr/share/postgresql/15']

export function debian15OrSkip(): void {
  needOrSkip(() => (existsSync(`${folders[0]}/bin/pg_rewind`) ? undefined : 'there is no PostgreSQL 15 on this machine: apt-get install postgresql-contrib'))
}

/** Files that the programs are linked with; the image may have some of them. */
function librariesOf(bin: string): Set<string> {
  const programs = ['postgres', 'initdb', 'pg_rewind', 'pg_ctl'].map((name) => join(bin, name))
  const text = execFileSync('ldd', programs, {encoding: 'utf8'})
  return new Set([...text.matchAll(/=> (\/\S+)/g)].map(([, path]) => path as string))
}

/** Its name, and the way to be rid of it. */
export function rewindImage(): {name: string; remove(): void} {
  const context = temporaryFolder('rewind-image')
  const layer = join(context.path, 'layer')
  for (const folder of folders) cpSync(folder, join(layer, folder), {recursive: true, dereference: true, filter: (path) => !/\/(?:doc|man|locale|bitcode)$/.test(path)})
  for (const path of librariesOf(`${folders[0]}/bin`)) {
    // where the image has them: its /lib is a link
    const at = join(layer, path.startsWith('/lib') ? `/usr${path}` : path)
    mkdirSync(dirname(at), {recursive: true})
    cpSync(realpathSync(path), at)
  }
  const name = `dbaas-rewind-${Math.random().toString(36).slice(2, 10)}:15`
  writeFileSync(join(context.path, 'Dockerfile'), `FROM ${images.postgresql}\nCOPY layer/ /\nENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:${folders[0]}/bin\n`)
  try {
    execFileSync('docker', ['build', '--quiet', '--force-rm', '--tag', name, context.path], {env: {...process.env, DOCKER_BUILDKIT: '0'}, stdio: ['ignore', 'ignore', 'pipe']})
  } finally {
    context.dispose()
  }
  return {name, remove: () => void execFileSync('docker', ['rmi', '--force', name], {stdio: 'ignore'})}
}
