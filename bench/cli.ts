/** `npm run bench -- cli`: `list --json` with the agent running, as milliseconds above `node -e 0`, in turn. */
import {join} from 'node:path'
import {median, must, projectRoot, temporarySite, verdict, wallOf} from './support.js'

const rounds = Number(process.env.BENCH_ROUNDS ?? 30)
const cli = [process.execPath, join(projectRoot, 'bin', 'run.js')]
const site = temporarySite('bench-cli', {env: {DBAAS_POOL_SIZE: '0'}})
try {
  must(await site.run('create', 'bench', '--size', 'micro'), 'create')
  const times = {node: [] as number[], list: [] as number[], version: [] as number[], help: [] as number[]}
  for (let i = 0; i < rounds; i++) {
    times.node.push(await wallOf([process.execPath, '-e', '0'], site.env))
    times.list.push(await wallOf([...cli, 'list', '--json'], site.env))
    times.version.push(await wallOf([...cli, '--version'], site.env))
    times.help.push(await wallOf([...cli, 'create', '--help'], site.env))
  }
  for (const [name, values] of Object.entries(times)) console.log(`${name.padEnd(16)} median ${median(values).toFixed(1)} ms   least ${Math.min(...values).toFixed(1)} ms`)
  console.log(verdict('list --json above node -e 0', median(times.list) - median(times.node), 90, 'ms'))
  must(await site.run('delete', 'bench', '--yes'), 'delete')
} finally {
  await site.dispose()
}
