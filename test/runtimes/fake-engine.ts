/**
 * The smallest thing that behaves like a database server as far as a runtime can tell: a real program with an
 * installable package, which works in its data folder, writes a log, and has children that start sessions of
 * their own, throw their environment away and rename themselves, as PostgreSQL's backends do.
 */
import {chmodSync, copyFileSync, mkdirSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import type {EngineSoftware} from '../../src/agent/runtimes/options.js'
import type {EngineVersions, KnownVersion, ServerCommand} from '../../src/engines/engine.js'
import type {Host} from '../../src/engines/host.js'

export const fakeEngine = 'fake'
export const fakeVersion = '1.0'
const program = 'fakedb'

/**
 * Ends with 7 on SIGTERM, with 3 at once when its data folder holds a file `broken`; takes all memory there is when it
 * holds a file `greedy`. Ready when its workers are.
 */
const server = `
bin="$1"; data="$2"
cd "$data" || exit 9
echo "fakedb: starting"
if [ -e broken ]; then echo "FATAL: broken"; exit 3; fi
if [ -e greedy ]; then exec tail /dev/zero; fi
trap 'echo "fakedb: stopping"; exit 7' TERM
rm -f "$HOME"/worker-*
for n in 1 2 3; do
  setsid env -i PATH="$PATH" /bin/bash "$bin/worker.sh" "$bin" "$HOME/worker-$n" "$DBAAS_SITE" "$DBAAS_NODE" &
done
for n in 1 2 3; do
  while [ ! -e "$HOME/worker-$n" ]; do sleep 0.01; done
done
echo "fakedb: ready"
while :; do wait; sleep 0.05; done
`
/** What it shows of its environment is empty, what it gives to its own children is not. */
const worker = `
exec -a "${program}: worker" "$1/${program}" -c 'export DBAAS_SITE="$1" DBAAS_NODE="$2"; : > "$0"; while :; do sleep 0.3; done' "$2" "$3" "$4"
`

const known: KnownVersion = {
  version: fakeVersion, bundled: true, binFolder: 'native/bin', linksFile: 'native/links.json',
  package: {name: '@fake/db', version: '1.0.0', integrity: 'sha512-unused'},
}

const fakeVersions: EngineVersions = {
  known: () => [known],
  default: fakeVersion,
  supports: () => true,
  has: () => false,
  systemFolders: [],
  serverProgram: program,
  parseVersion: () => undefined,
}

export const fakeSoftware: EngineSoftware = {
  name: fakeEngine, title: 'Fake', defaultPort: 9999, versions: fakeVersions, images: {repository: 'fake', tag: (version) => version, serverUser: 'fake'},
}

/** The same programs as an image has them, whose name a caller chooses. */
export const fakeFiles = {'server.sh': {content: server}, 'start.sh': {content: server}, 'worker.sh': {content: worker}} as const
export const fakeBin = '/opt/fake/bin'
/** Awkward on purpose: an environment that must not reach the server, and a volume that nobody would remove. */
export const fakeDockerfile = [
  'RUN useradd --uid 4242 --no-create-home fake',
  `COPY server.sh start.sh worker.sh ${fakeBin}/`,
  `RUN cp /bin/bash ${fakeBin}/${program}`,
  `ENV PATH=/usr/local/bin:/usr/bin:/bin:${fakeBin} FAKE_SECRET=of-the-image X=of-the-image`,
  'VOLUME /var/lib/fake',
  'STOPSIGNAL SIGTERM',
  'ENTRYPOINT ["/no/such/entrypoint"]',
]
export const fakeImageSoftware = (repository: string): EngineSoftware => ({
  ...fakeSoftware, versions: {...fakeVersions, parseVersion: (output) => (/bash, version/.test(output) ? fakeVersion : undefined)},
  images: {repository, tag: (version) => version, serverUser: 'fake'},
})

/** An installed package of the fake engine, as npm would leave it without running scripts. */
export function installFakePackage(folder: string): void {
  const root = join(folder, 'node_modules', '@fake', 'db')
  const bin = join(root, 'native', 'bin')
  mkdirSync(bin, {recursive: true})
  copyFileSync('/bin/bash', join(bin, program))
  chmodSync(join(bin, program), 0o755)
  writeFileSync(join(bin, 'server.sh'), server, {mode: 0o644})
  writeFileSync(join(bin, 'worker.sh'), worker, {mode: 0o644})
  writeFileSync(join(root, 'native', 'links.json'), JSON.stringify([{source: 'native/bin/server.sh', target: 'native/bin/start.sh'}]), {mode: 0o644})
  writeFileSync(join(root, 'package.json'), JSON.stringify({name: '@fake/db', version: '1.0.0'}), {mode: 0o644})
}

export const fakeCommand = (host: Host): ServerCommand => ({
  argv: [join(host.paths.bin, program), join(host.paths.bin, 'start.sh'), host.paths.bin, host.paths.data],
  env: {},
})

/** Makes a data directory with an identity of its own. */
export async function fakeInitialise(host: Host): Promise<void> {
  await host.write({path: join(host.paths.data, 'identity'), content: `${Math.random()}`})
}
