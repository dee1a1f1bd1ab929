/**
 * `npm run bench -- create`: the whole command `dbaas create`, CLI start included, against bare `initdb` + `pg_ctl start`
 * of the same binaries, in turn, in one run. Cold: no prepared data directory. Warm: one is there. First: the very first
 * command in an empty HOME (engine store, agent start, create).
 *
 * `npm run bench -- create --engine mysql|mariadb` and `--runtime docker`: the other cells, against bare initialise and start,
 * or `docker run` of the same image, until a client is answered.
 */
import {chownSync, mkdirSync, readdirSync, rmSync} from 'node:fs'
import {join} from 'node:path'
import {parseArgs} from 'node:util'
import {setTimeout as pause} from 'node:timers/promises'
import {benchCell} from './support-create.js'
import {temporaryFolder} from '../test/support/temporary.js'
import {dataRootOf} from '../test/support/site.js'
import {bundledBin, median, must, projectRoot, run, serverUser, temporarySite, timed, verdict, wallOf} from './support.js'

const {values: asked} = parseArgs({options: {engine: {type: 'string', default: 'postgresql'}, runtime: {type: 'string', default: 'process'}}})
if (asked.engine === 'postgresql' && asked.runtime === 'process') await benchPostgresql()
else await benchCell(asked.engine as 'postgresql' | 'mysql' | 'mariadb', asked.runtime)

async function benchPostgresql(): Promise<void> {
  const pairs = Number(process.env.BENCH_PAIRS ?? 10)
  const firsts = Number(process.env.BENCH_FIRSTS ?? 5)
  const cli = [process.execPath, join(projectRoot, 'bin', 'run.js')]

  const cold = temporarySite('bench-cold', {env: {DBAAS_POOL_SIZE: '0'}})
  const warm = temporarySite('bench-warm', {env: {DBAAS_POOL_SIZE: '2'}})
  const scratch = temporaryFolder('bench-bare')
  try {
    for (const site of [cold, warm]) {
      must(await site.run('create', 'first'), 'create')
      must(await site.run('delete', 'first', '--yes'), 'delete')
    }
    const bin = await bundledBin(cold)
    const user = serverUser()
    const times = {bare: [] as number[], cold: [] as number[], warm: [] as number[], first: [] as number[]}

    const bare = async (i: number): Promise<void> => {
      const folder = join(scratch.path, `b${i}`)
      mkdirSync(folder)
      if (user.uid !== undefined) chownSync(folder, user.uid, user.gid as number)
      const env = {PATH: process.env.PATH, HOME: folder}
      const data = join(folder, 'data')
      const script = `"${bin}/initdb" -D "${data}" >/dev/null && "${bin}/pg_ctl" -D "${data}" -w -l "${folder}/log" -o "-p ${24_900 + i} -k ''" start >/dev/null`
      times.bare.push(await timed(async () => must(await run(['sh', '-c', script], {env, cwd: folder, ...user}), 'bare')))
      must(await run([join(bin, 'pg_ctl'), '-D', data, '-m', 'immediate', '-w', 'stop'], {env, cwd: folder, ...user}), 'bare stop')
      rmSync(folder, {recursive: true})
    }
    const poolReady = async (): Promise<void> => {
      const pool = join(dataRootOf(warm.home), 'pool')
      const entries = (): string[] => {
        try {
          return readdirSync(pool).flatMap((key) => readdirSync(join(pool, key)).filter((n) => !n.startsWith('.')))
        } catch {
          return []
        }
      }
      for (let i = 0; i < 600 && entries().length < 2; i++) await pause(100)
      if (entries().length < 1) throw new Error('the pool was not filled')
      // what filled it must have ended before anything is measured
      await pause(500)
    }

    for (let i = 0; i < pairs; i++) {
      await poolReady()
      await bare(i)
      times.cold.push(await wallOf([...cli, 'create', 'bench'], cold.env))
      times.warm.push(await wallOf([...cli, 'create', 'bench'], warm.env))
      must(await cold.run('delete', 'bench', '--yes'), 'delete')
      must(await warm.run('delete', 'bench', '--yes'), 'delete')
    }
    await warm.run('agent', 'stop')
    await cold.run('agent', 'stop')
    for (let i = 0; i < firsts; i++) {
      await bare(100 + i)
      const site = temporarySite('bench-first')
      try {
        times.first.push(await wallOf([...cli, 'create', 'bench'], site.env))
        must(await site.run('delete', 'bench', '--yes'), 'delete')
      } finally {
        await site.dispose()
      }
    }
    const base = median(times.bare)
    const row = (name: string, values: readonly number[]): string =>
      `${name.padEnd(44)} median ${median(values).toFixed(0)} ms   ${values.map((v) => v.toFixed(0)).join(' ')}`
    console.log(row('bare initdb + pg_ctl start', times.bare))
    console.log(row('dbaas create, cold', times.cold))
    console.log(row('dbaas create, warm', times.warm))
    console.log(row('dbaas create, first command of an empty HOME', times.first))
    console.log(verdict('cold / bare', median(times.cold) / base, 1.4))
    console.log(verdict('warm / bare', median(times.warm) / base, 0.6))
    console.log(verdict('first / bare', median(times.first) / base, 3))
  } finally {
    await cold.dispose()
    await warm.dispose()
    scratch.dispose()
  }
}
