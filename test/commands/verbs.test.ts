import assert from 'node:assert/strict'
import {spawn} from 'node:child_process'
import {readFileSync} from 'node:fs'
import {writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import pg from 'pg'
import {findProgram} from '../../src/commands/_support/programs.js'
import type {ApiInstance, ApiOperation} from '../../src/core/api/schemas.js'
import {projectRoot, run, temporarySite} from '../support/site.js'
import type {Ran, Site} from '../support/site.js'

type Mutated = {operation: ApiOperation; instance: ApiInstance}

/** On a real agent and a real server, as a person types it. */
describe('verbs on a real database', function () {
  this.timeout(120_000)
  let site: Site
  const cli = (...argv: string[]) => [process.execPath, join(projectRoot, 'bin/run.js'), ...argv]
  const withInput = (input: string, ...argv: string[]): Promise<Ran> => run(cli(...argv), {env: site.env, input})

  before(async () => {
    site = temporarySite('verbs', {env: {DBAAS_POOL_SIZE: '0'}})
    const {operation, instance} = (await site.json('create', 'demo', '--size', 'micro', '--set', 'work_mem=3MB')) as Mutated
    assert.equal(operation.status, 'succeeded')
    assert.equal(instance.status, 'running')
  })
  after(() => site.dispose())

  it('lists it, and shows plainly whether it is protected', async () => {
    const {instances} = (await site.json('list')) as {instances: ApiInstance[]}
    assert.deepEqual(instances.map(({name}) => name), ['demo'])
    assert.match((await site.run('list')).stdout, /^NAME\s+STATUS[\s\S]*demo\s+running/)
    assert.match((await site.run('status', 'demo')).stdout, /demo {2}running[\s\S]*backups {5}(none taken yet|the last .* ago), the next in/)
  })

  it('gives a URL with which a driver connects, the certificate verified', async () => {
    const {url} = (await site.json('url', 'demo')) as {url: string}
    const parsed = new URL(url)
    const client = new pg.Client({
      host: parsed.hostname, port: Number(parsed.port), user: parsed.username, password: decodeURIComponent(parsed.password), database: parsed.pathname.slice(1),
      ssl: {ca: readFileSync(parsed.searchParams.get('sslrootcert') as string, 'utf8'), rejectUnauthorized: true},
    })
    await client.connect()
    try {
      assert.deepEqual((await client.query('show work_mem')).rows, [{work_mem: '3MB'}])
    } finally {
      await client.end()
    }
  })

  it('prints a secret only where it is asked for', async () => {
    const {credentials} = (await site.json('credentials', 'demo')) as {credentials: {password: string}}
    for (const argv of [['status', 'demo', '--json'], ['list', '--json'], ['operations', 'list', '--json'], ['audit', 'list', '--json'], ['agent', 'logs']]) {
      const {stdout, stderr} = await site.run(...argv)
      assert.ok(!`${stdout}${stderr}`.includes(credentials.password), `dbaas ${argv.join(' ')} shows the password`)
    }
  })

  it('runs statements from an argument and from stdin', async () => {
    assert.equal((await site.run('sql', 'demo', "select 1 as one, 'x' as v")).stdout, 'one  v\n  1  x\n1 row\n')
    const answer = JSON.parse((await withInput('select true as t, null as n;', 'sql', 'demo', '-', '--json')).stdout) as Record<string, unknown>
    assert.deepEqual([answer.columns, answer.rows, answer.row_count, answer.command], [
      [{name: 't', type: 'boolean'}, {name: 'n', type: 'text'}], [[true, null]], 1, 'SELECT',
    ])
    const failed = await site.run('sql', 'demo', 'selec 1')
    assert.deepEqual([failed.code, failed.stdout], [1, ''])
    assert.match(failed.stderr, /syntax error[\s\S]*SQL_ERROR/)
  })

  it('speaks through its own prompt where there is no psql', async () => {
    const {stdout, stderr, code} = await withInput(
      "create table t (id int primary key,\n  v text default 'a;b');\ninsert into t values (1);\n\\dt\n\\d t\nselect v\n\\dn\nfrom t;\n\\q\nselect 'never';\n",
      'connect', 'demo', '--built-in',
    )
    assert.equal(code, 0, stderr)
    assert.match(stdout, /CREATE[\s\S]*INSERT 1\n[\s\S]*public\s+t\s+table[\s\S]*id\s+integer\s+not null[\s\S]*t_pkey[\s\S]*pg_database_owner[\s\S]*a;b/)
    assert.doesNotMatch(stdout, /never/)
    const failed = await withInput('select 1;\nselec 2;\nselect 3 as three;\n', 'connect', 'demo', '--built-in')
    assert.equal(failed.code, 1)
    assert.doesNotMatch(failed.stdout, /three/)
    const open = await withInput('begin;\n', 'connect', 'demo', '--built-in')
    assert.match(open.stderr, /cannot stay open/)
  })

  it('hands over to psql where there is one, with its exit code', async function () {
    if ((await findProgram('psql')) === undefined) this.skip()
    const answer = await site.run('connect', 'demo', '--', '-X', '-A', '-t', '-c', 'select current_user, ssl, version from pg_stat_ssl where pid = pg_backend_pid()')
    assert.equal(answer.stdout, 'app|t|TLSv1.3\n', answer.stderr)
    assert.equal((await site.run('connect', 'demo', '--', '-X', '-c', 'selec', '-v', 'ON_ERROR_STOP=1')).code, 1)
  })

  it('plans a change without making it, makes it, and takes it back', async () => {
    const {plan} = (await site.json('config', 'set', 'demo', 'work_mem=5MB', '--plan')) as {plan: {steps: string[]; impact: string}}
    assert.equal(plan.impact, 'reload')
    assert.deepEqual((await site.json('sql', 'demo', 'show work_mem') as {rows: unknown}).rows, [['3MB']])
    assert.equal((await site.run('config', 'set', 'demo', 'work_mem', '5MB')).code, 0)
    assert.deepEqual((await site.json('sql', 'demo', 'show work_mem') as {rows: unknown}).rows, [['5MB']])
    assert.equal((await site.run('config', 'unset', 'demo', 'work_mem')).code, 0)
    assert.match((await site.run('config', 'explain', 'demo', 'work_mem')).stdout, /range +64 to/)
    assert.match((await site.run('config', 'show', 'demo', 'work_men')).stderr, /did you mean work_mem/)
  })

  it('returns at once with --no-wait, and can be waited for', async () => {
    const {operation, ...rest} = (await site.json('stop', 'demo', '--no-wait')) as Mutated
    assert.deepEqual(rest, {})
    const waited = (await site.json('operations', 'wait', operation.id)) as {operation: ApiOperation}
    assert.equal(waited.operation.status, 'succeeded')
    assert.equal(((await site.json('status', 'demo')) as {instance: ApiInstance}).instance.status, 'stopped')
    const followed = await site.run('operations', 'follow', operation.id, '--json')
    const objects = followed.stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as {operation: ApiOperation})
    assert.equal(objects.at(-1)?.operation.status, 'succeeded')
  })

  it('stops waiting after --timeout by 124, and on Ctrl-C by 130, while the operation goes on', async () => {
    const timedOut = await site.run('start', 'demo', '--timeout', '1ms', '--json')
    const {error} = JSON.parse(timedOut.stdout) as {error: {code: string; details: {operation_id: string}}}
    assert.deepEqual([timedOut.code, error.code], [124, 'WAIT_TIMED_OUT'])
    await site.json('operations', 'wait', error.details.operation_id)

    const child = spawn(process.execPath, cli('create', 'other', '--size', 'micro', '--json').slice(1), {env: site.env, stdio: ['ignore', 'pipe', 'pipe']})
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
    let stdout = ''
    child.stdout.on('data', (data: Buffer) => (stdout += data.toString()))
    // The first step that is told is proof that it waits.
    await new Promise<void>((resolve) => child.stderr.once('data', () => resolve()))
    child.kill('SIGINT')
    assert.equal(await ended, 130)
    const interrupted = (JSON.parse(stdout) as {error: {code: string; details: {operation_id: string}}}).error
    assert.equal(interrupted.code, 'INTERRUPTED')
    await site.json('operations', 'wait', interrupted.details.operation_id)
    assert.equal(((await site.json('status', 'other')) as {instance: ApiInstance}).instance.status, 'running')
  })

  it('takes a file, and refuses a name in use by exit code 5', async () => {
    const file = join(site.home, 'spec with spaces.yaml')
    await writeFile(file, 'name: demo\nsize: micro\n')
    const refused = await site.run('create', '-f', file)
    assert.equal(refused.code, 5)
    assert.match(refused.stderr, /NAME_IN_USE/)
    await writeFile(file, 'name: third\nsize: micro\nset:\n  work_mem: 3MB\n')
    const {plan} = (await site.json('create', '-f', file, '--plan')) as {plan: {impact: string; steps: string[]}}
    assert.equal(plan.impact, 'none')
    assert.ok(plan.steps.length > 0)
    assert.equal((await site.run('status', 'third')).code, 3)
  })

  it('follows the log, and watches as one object a line', async () => {
    assert.match((await site.run('logs', 'demo', '--since', '1h', '-n', '500')).stdout, /ready to accept connections/)
    const child = spawn(process.execPath, cli('status', 'demo', '--watch', '--json').slice(1), {env: site.env, stdio: ['ignore', 'pipe', 'ignore']})
    const ended = new Promise((resolve) => child.once('close', resolve))
    let stdout = ''
    await new Promise<void>((resolve) => child.stdout.on('data', (data: Buffer) => {
      stdout += data.toString()
      if (stdout.split('\n').length > 2) resolve()
    }))
    child.kill('SIGINT')
    await ended
    for (const line of stdout.trimEnd().split('\n').slice(0, 2)) assert.equal((JSON.parse(line) as {instance: ApiInstance}).instance.name, 'demo')
  })

  it('makes raw calls, whose exit code is that of the answer', async () => {
    const good = await site.run('api', 'GET', '/v1/instances/demo')
    assert.equal((JSON.parse(good.stdout) as {instance: ApiInstance}).instance.name, 'demo')
    const bad = await site.run('api', 'GET', '/v1/instances/none')
    assert.equal(bad.code, 3)
    assert.equal((JSON.parse(bad.stdout) as {error: {code: string}}).error.code, 'INSTANCE_NOT_FOUND')
  })

  it('refuses to delete what is protected, then deletes it', async () => {
    assert.equal((await site.run('protect', 'demo')).code, 0)
    assert.equal((await site.run('delete', 'demo', '--yes')).code, 5)
    assert.equal((await site.run('unprotect', 'demo')).code, 0)
    const {operation} = (await site.json('delete', 'demo', '--yes')) as Mutated
    assert.equal(operation.status, 'succeeded')
    assert.equal((await site.run('status', 'demo')).code, 3)
    assert.equal((await site.run('delete', 'other', '--yes')).code, 0)
  })

  it('stops the agent and says so', async () => {
    assert.equal((await site.run('agent', 'stop')).code, 0)
    assert.equal((await site.run('agent', 'status')).code, 6)
    assert.match((await site.run('agent', 'logs', '-n', '5')).stdout, /the agent has stopped/)
  })
})
