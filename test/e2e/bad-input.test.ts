/**
 * What bad input gets: a clear error with its code, its exit code, a message that names the thing, and a way out; as
 * text and as exactly one JSON document; and nothing left behind. By the built CLI, a real agent and a real server.
 */
import assert from 'node:assert/strict'
import {spawn} from 'node:child_process'
import {mkdirSync, writeFileSync} from 'node:fs'
import {createServer, type AddressInfo} from 'node:net'
import {cpus} from 'node:os'
import {dirname, join} from 'node:path'
import {setTimeout as pause} from 'node:timers/promises'
import type {ApiEngine, ApiOperation} from '../../src/core/api/schemas.js'
import type {ErrorCode} from '../../src/core/errors.js'
import {leftoversOf} from '../support/leftovers.js'
import {assertRefused, refuse} from '../support/refusal.js'
import {projectRoot, temporarySite, type Ran, type Site} from '../support/site.js'

type Row = readonly [title: string, argv: readonly string[], code: ErrorCode, names: RegExp, suggests: RegExp]

const x = (...flags: string[]) => ['create', 'x', ...flags]

/** Refused before anything is made; no instance exists. */
const creates: readonly Row[] = [
  ['a name in upper case', ['create', 'Demo'], 'INVALID_NAME', /"Demo".*lower-case/, /use "demo"/],
  ['a name of 41 characters', ['create', 'd'.repeat(41)], 'INVALID_NAME', /d{41}.*41 characters, and 40/, /use "d{40}"/],
  ['a reserved name', ['create', 'postgres'], 'INVALID_NAME', /"postgres".*reserved/, /use "postgres-db"/],
  ['an empty name', ['create', ''], 'INVALID_NAME', /"".*empty/, /lower-case letters/],
  ['a name in unicode', ['create', 'späti-🐘'], 'INVALID_NAME', /"späti-🐘"/, /use "spa-ti"/],
  ['a name of two words', ['create', 'my db'], 'INVALID_NAME', /"my db"/, /use "my-db"/],
  ['a name that begins with a digit', ['create', '9lives'], 'INVALID_NAME', /"9lives".*begin with a letter/, /use "lives"/],
  ['a mistyped engine', x('--engine', 'postgresqll'), 'UNKNOWN_ENGINE', /"postgresqll"/, /--engine postgresql$/m],
  ['an unknown engine', x('--engine', 'oracle'), 'UNKNOWN_ENGINE', /"oracle"/, /the engines are .*postgresql/],
  ['an unknown version', x('--version', '99'), 'UNKNOWN_VERSION', /PostgreSQL 99/, /--version \d+\.\d+/],
  ['a version that is none', x('--version', 'newest'), 'UNKNOWN_VERSION', /newest/, /dbaas engines list/],
  ['a mistyped size', x('--size', 'smal'), 'INVALID_SIZE', /"smal"/, /--size small/],
  ['too much CPU for anything', x('--cpu', '300'), 'INVALID_SIZE', /cpu of 300.*0\.1 to 256/, /--cpu 256/],
  ['no CPU', x('--cpu', '0'), 'INVALID_SIZE', /cpu of 0/, /--cpu 0\.1/],
  ['CPU that is no number', x('--cpu', 'two'), 'USAGE', /--cpu.*"two"/, /--cpu 1/],
  ['CPU below zero', x('--cpu', '-1'), 'USAGE', /--cpu.*"-1"/, /--cpu 1/],
  ['memory in an unknown unit', x('--memory', '4XB'), 'INVALID_SIZE', /"4XB"/, /4GiB/],
  ['too little memory', x('--memory', '1MiB'), 'INVALID_SIZE', /memory of 1 MiB.*128 MiB to 4 TiB/, /--memory 128MiB/],
  ['too much memory for anything', x('--memory', '64TiB'), 'INVALID_SIZE', /memory of 64 TiB/, /--memory 4TiB/],
  ['too little storage', x('--storage', '10MB'), 'INVALID_SIZE', /storage of 9\.5 MiB/, /--storage 1GiB/],
  ['storage below zero', x('--storage', '-5GB'), 'INVALID_SIZE', /"-5GB"/, /20GB/],
  ['a time to live that is none', x('--ttl', 'soon'), 'INVALID_REQUEST', /"soon"/, /10m, 1h/],
  ['a time to live of nothing', x('--ttl', '0s'), 'USAGE', /--ttl.*"0s"/, /--ttl 1h/],
  ['a protected instance that expires', x('--protect', '--ttl', '1h'), 'INVALID_REQUEST', /--protect or --ttl/, /dbaas create x --protect/],
  ['a mistyped flag', x('--sise', 'small'), 'USAGE', /no flag --sise/, /--size/],
  ['a mistyped command', ['crate', 'x'], 'USAGE', /"crate"/, /dbaas create/],
  ['a mistyped template', x('--template', 'oltpp'), 'UNKNOWN_TEMPLATE', /"oltpp"/, /did you mean oltp\?/],
  ['an unknown runtime', x('--runtime', 'proces'), 'UNKNOWN_RUNTIME', /"proces"/, /--runtime process/],
  ['an image where there are none', x('--image', 'postgres:18'), 'NOT_SUPPORTED', /process has no images/, /--runtime docker/],
  ['an address to publish at, on a process', x('--publish-address', '0.0.0.0'), 'INVALID_REQUEST', /loopback only/, /leave --publish-address away/],
  ['a mistyped flag of a file', x('--publish-adress', '0.0.0.0'), 'USAGE', /no flag --publish-adress/, /--publish-address/],
  ['a port that is none', x('--port', '99999'), 'USAGE', /65535, not 99999/, /--port/],
  ['a mistyped parameter', x('--set', 'work_me=1MB'), 'UNKNOWN_PARAMETER', /"work_me"/, /did you mean work_mem\?/],
  ['a parameter of another engine', x('--set', 'innodb_buffer_pool_size=1GB'), 'UNKNOWN_PARAMETER', /PostgreSQL \S+ has no parameter "innodb_buffer_pool_size"/, /dbaas api GET/],
  ['a value below the range', x('--set', 'work_mem=1kB'), 'INVALID_PARAMETER_VALUE', /work_mem.*64kB to 2147483647kB/, /parameters\/work_mem/],
  ['a value above the range', x('--set', 'work_mem=9TB'), 'INVALID_PARAMETER_VALUE', /9TB.*64kB to 2147483647kB/, /parameters\/work_mem/],
  ['a value in an unknown unit', x('--set', 'statement_timeout=5parsecs'), 'INVALID_PARAMETER_VALUE', /statement_timeout.*min, s, ms/, /statement_timeout/],
  ['a word that is none of an enumeration', x('--set', 'wal_compression=lz'), 'INVALID_PARAMETER_VALUE', /wal_compression.*nearest is (lz4|pglz)/, /wal_compression/],
  ['a parameter that the agent manages', x('--set', 'listen_addresses=*'), 'PARAMETER_MANAGED', /listen_addresses.*place/, /leave listen_addresses away/],
  ['an assignment without a value', x('--set', 'work_mem'), 'USAGE', /"work_mem" is not NAME=VALUE/, /work_mem=64MB/],
  ['a combination that the server refuses', x('--set', 'max_connections=3'), 'INVALID_PARAMETER_VALUE', /superuser_reserved_connections/, /max_connections/],
  ['more CPU than the host has', x('--cpu', '250'), 'INSUFFICIENT_CPU', /250 CPUs/, /--cpu \d/],
  ['more memory than the host has', x('--memory', '4TiB'), 'INSUFFICIENT_MEMORY', /needs 1.0 TiB/, /--memory/],
  ['shared memory that the host lacks', x('--set', 'shared_buffers=900GB'), 'INSUFFICIENT_MEMORY', /needs 9\d\d\.\d GiB/, /shared_buffers/],
  ['an instance that is not there', ['status', 'demo'], 'INSTANCE_NOT_FOUND', /"demo"/, /dbaas create demo/],
  ['an instance that cannot be there', ['status', '../x'], 'INSTANCE_NOT_FOUND', /"\.\.\/x"/, /^dbaas list$/],
]

/** With the instance `demo` there. */
const onDemo: readonly Row[] = [
  ['a name in use', ['create', 'demo'], 'NAME_IN_USE', /"demo"/, /dbaas status demo/],
  ['a mistyped instance', ['status', 'dmo'], 'INSTANCE_NOT_FOUND', /"dmo"/, /did you mean demo\?/],
  ['an empty instance', ['delete', '', '--yes'], 'USAGE', /empty/, /variable may be unset/],
  ['a delete that nobody confirms', ['delete', 'demo'], 'CONFIRMATION_REQUIRED', /delete demo with all its data/, /dbaas delete demo --yes/],
  ['the removal of an engine in use', ['engines', 'remove', 'postgresql@18'], 'ENGINE_IN_USE', /postgresql 18\.\d+/, /dbaas delete demo/],
  ['an engine version that is nowhere', ['engines', 'install', 'postgresql@99'], 'UNKNOWN_VERSION', /PostgreSQL 99/, /dbaas engines/],
  ['a mistyped parameter', ['config', 'set', 'demo', 'wrk_mem=1MB'], 'UNKNOWN_PARAMETER', /"wrk_mem"/, /did you mean work_mem\?/],
  ['a mistyped parameter to unset', ['config', 'unset', 'demo', 'wrk_mem'], 'UNKNOWN_PARAMETER', /"wrk_mem"/, /work_mem/],
  ['a mistyped parameter to explain', ['config', 'explain', 'demo', 'wrk_mem'], 'UNKNOWN_PARAMETER', /"wrk_mem"/, /work_mem/],
  ['a value out of range', ['config', 'set', 'demo', 'work_mem=1kB'], 'INVALID_PARAMETER_VALUE', /64kB to 2147483647kB/, /dbaas config explain demo work_mem/],
  ['a managed parameter', ['config', 'set', 'demo', 'fsync=off'], 'PARAMETER_MANAGED', /fsync.*durability|fsync.*never trades/, /leave fsync away/],
  ['a combination that the server refuses', ['config', 'set', 'demo', 'max_connections=3'], 'INVALID_PARAMETER_VALUE', /superuser_reserved_connections/, /dbaas config explain demo max_connections/],
  ['nothing to set', ['config', 'set', 'demo'], 'USAGE', /nothing to set/, /dbaas config set demo/],
  ['a mistyped template to compare with', ['config', 'diff', 'demo', 'template:olpt'], 'UNKNOWN_TEMPLATE', /"olpt"/, /oltp/],
  ['the deletion of a built-in template', ['config', 'templates', 'delete', 'oltp', '--yes'], 'TEMPLATE_BUILT_IN', /"oltp"/, /another name/],
  ['the deletion of a template that nobody confirms', ['config', 'templates', 'delete', 'mine'], 'CONFIRMATION_REQUIRED', /mine/, /--yes/],
  ['a statement with a mistake', ['sql', 'demo', 'selec 1'], 'SQL_ERROR', /syntax error at or near "selec"/, /character 1 of/],
  ['a mistyped format', ['url', 'demo', '--format', 'jdb'], 'USAGE', /"jdb".*jdbc/, /--format jdbc/],
  ['a mistyped status', ['list', '--status', 'runing'], 'INVALID_REQUEST', /"runing"/, /did you mean running\?/],
  ['an unknown engine to list', ['list', '--engine', 'postgrsql'], 'UNKNOWN_ENGINE', /"postgrsql"/, /postgresql/],
  ['an operation that is not there', ['operations', 'show', 'op_x'], 'OPERATION_NOT_FOUND', /"op_x"/, /dbaas operations list/],
  ['a node that is not there', ['sql', 'demo', 'select 1', '--node', 'demo-9'], 'NODE_NOT_FOUND', /"demo-9"/, /--node demo-1/],
  ['no number of lines', ['logs', 'demo', '--lines', '-5'], 'USAGE', /--lines.*"-5"/, /--lines/],
]

describe('bad input', function () {
  this.timeout(60_000)
  // No prepared data directories: a create takes long enough to be interrupted.
  let site: Site
  const cli = (...argv: string[]) => site.run(...argv)
  before(() => void (site = temporarySite('input', {env: {DBAAS_POOL_SIZE: '0'}})))
  after(() => site.dispose())

  const operations = async (): Promise<ApiOperation[]> => (await site.json('operations', 'list')).operations
  async function nothingLeft(): Promise<void> {
    let left = leftoversOf(site.home)
    // The catalogue of the version may be read in the background from a scratch server: that ends by itself.
    for (let i = 0; i < 100 && left.length > 0; i++) {
      await pause(100)
      left = leftoversOf(site.home)
    }
    assert.deepEqual(left, [])
  }

  describe('where nothing is', () => {
    for (const [title, argv, code, names, suggests] of creates) {
      const hostIsLarger = title === 'more CPU than the host has' && cpus().length >= 250
      if (!hostIsLarger) it(`refuses ${title}`, () => refuse(cli, argv, {code, names, suggests}))
    }

    it('refuses a known version that is not installed, with the command that installs it', async () => {
      const {engines} = (await site.json('engines', 'list')) as {engines: ApiEngine[]}
      const version = engines[0]?.versions.find((v) => !v.installed)?.version as string
      await refuse(cli, x('--version', version), {
        code: 'ENGINE_NOT_INSTALLED', names: new RegExp(`PostgreSQL ${version}`), suggests: new RegExp(`^dbaas engines install postgresql@${version}$`, 'm'),
      })
    })

    it('refuses a port that somebody listens on', async () => {
      const server = createServer().listen(0, '127.0.0.1')
      await new Promise((resolve) => server.once('listening', resolve))
      const {port} = server.address() as AddressInfo
      await refuse(cli, x('--port', `${port}`), {code: 'PORT_IN_USE', names: new RegExp(`port ${port}`), suggests: /--port/})
      await new Promise((resolve) => server.close(resolve))
    })

    it('refuses the same when it only plans', () =>
      refuse(cli, x('--plan', '--set', 'work_me=1MB'), {code: 'UNKNOWN_PARAMETER', names: /work_me/, suggests: /work_mem/}))

    const files: readonly (readonly [title: string, content: string, code: ErrorCode, names: RegExp, suggests: RegExp])[] = [
      ['that is not YAML', 'name: x\nset:\n  work_mem: [1\nsize: small\n', 'USAGE', /spec\.yaml: .*line \d/, /mend the file/],
      ['with an unknown key', 'name: x\nsze: small\n', 'USAGE', /spec\.yaml.*"sze"/, /did you mean size\?/],
      ['with a list', '- x\n', 'USAGE', /spec\.yaml.*mapping/, /the keys are name/],
      ['with nothing', '', 'USAGE', /spec\.yaml.*mapping/, /the keys are name/],
      ['with a key twice', 'name: x\nname: y\n', 'USAGE', /spec\.yaml.*unique at line 2/, /mend the file/],
      ['with a word for protect', 'name: x\nprotect: please\n', 'USAGE', /"protect".*"please"/, /protect: true/],
      ['with another name than the command', 'name: y\n', 'USAGE', /"y".*"x"/, /leave one/],
      ['with a bad size', 'name: x\nmemory: much\n', 'INVALID_SIZE', /"much"/, /4GiB/],
    ]
    for (const [title, content, code, names, suggests] of files) {
      it(`refuses a file ${title}`, async () => {
        const file = join(dirname(site.home), 'spec.yaml')
        writeFileSync(file, content)
        await refuse(cli, [...(title.includes('another name') ? ['create', 'x'] : ['create']), '-f', file], {code, names, suggests})
      })
    }
    it('refuses a file that is not there, or is a folder', async () => {
      await refuse(cli, ['create', '-f', '/no/such.yaml'], {code: 'FILE_NOT_FOUND', names: /\/no\/such\.yaml.*no such file/, suggests: /ls -l/})
      const folder = join(dirname(site.home), 'folder.yaml')
      mkdirSync(folder)
      await refuse(cli, ['create', '-f', folder], {code: 'FILE_NOT_FOUND', names: /folder/, suggests: /ls -l/})
    })

    it('has made nothing: no folder, process, port, row, secret, and not even an operation', async () => {
      await nothingLeft()
      assert.deepEqual(await operations(), [])
    })
  })

  describe('of raw calls', () => {
    const calls: readonly Row[] = [
      ['an unknown path', ['GET', '/v1/instnces'], 'ROUTE_NOT_FOUND', /\/v1\/instnces/, /\/v1\/instances|openapi/],
      ['a wrong method', ['PATCH', '/v1/instances'], 'METHOD_NOT_ALLOWED', /PATCH/, /GET, HEAD, POST/],
      ['a body that is not JSON', ['POST', '/v1/instances', '--body', '{"name":'], 'MALFORMED_JSON', /not valid JSON/, /jq/],
      ['an unknown field', ['POST', '/v1/instances', '--body', '{"name":"x","sise":"small"}'], 'INVALID_REQUEST', /"sise"/, /size/],
      ['a field of the wrong type', ['POST', '/v1/instances', '--body', '{"name":3}'], 'INVALID_REQUEST', /"name".*string/, /(?:)/],
      ['no body', ['POST', '/v1/instances'], 'INVALID_REQUEST', /body is missing/, /JSON/],
      ['an unknown field of the query', ['GET', '/v1/instances?stauts=x'], 'INVALID_REQUEST', /"stauts"/, /status/],
    ]
    for (const [title, argv, code, names, suggests] of calls) {
      it(`refuses ${title} with the answer itself`, async () => {
        assertRefused(await cli('api', ...argv), {code, names, suggests}, `dbaas api ${argv.join(' ')}`)
      })
    }
    it('refuses a path that is none before it asks anybody', () =>
      refuse(cli, ['api', 'GET', 'v1/instances'], {code: 'USAGE', names: /"v1\/instances" is not a path/, suggests: /dbaas api GET \/v1\/instances/}))
  })

  describe('while and after an instance is made', () => {
    const settled = async (id: string): Promise<void> => {
      const {operation} = (await site.json('operations', 'wait', id)) as {operation: ApiOperation}
      assert.equal(operation.status, 'succeeded')
      assert.ok(operation.ended_at)
    }

    it('stops waiting at once with --timeout 1ms, and the operation goes on to its end', async () => {
      const ran = await cli('create', 'demo', '--size', 'micro', '--timeout', '1ms', '--json')
      const {error} = assertRefused(ran, {code: 'WAIT_TIMED_OUT', names: /1 ms.*goes on/, suggests: /dbaas operations wait op_/}, 'create --timeout 1ms')
      assert.equal(ran.code, 124)
      await settled(error.details?.operation_id as string)
      assert.equal((await site.json('status', 'demo')).instance.status, 'running')
    })

    it('makes one instance of one request that is sent twice, and refuses its key to another', async () => {
      const post = (name: string) => cli('api', 'POST', '/v1/instances', '--body', JSON.stringify({name, size: 'micro'}), '--idempotency-key', 'once')
      const [first, second] = [await post('twice'), await post('twice')].map((ran) => JSON.parse(ran.stdout) as {operation: ApiOperation})
      assert.equal(second?.operation.id, first?.operation.id)
      const other = assertRefused(await post('other'), {code: 'IDEMPOTENCY_CONFLICT', names: /different request/, suggests: /new key/}, 'api POST')
      assert.equal(other.error.details?.operation_id, first?.operation.id)
      await settled(first?.operation.id as string)
      const {instances} = (await site.json('list')) as {instances: {name: string}[]}
      assert.deepEqual(instances.map(({name}) => name).sort(), ['demo', 'twice'])
    })

    it('gives up waiting at Ctrl-C with 130, and the operation goes on to its end', async () => {
      const ran = await interrupted(site.env, ['create', 'third', '--size', 'micro', '--json'])
      assert.equal(ran.code, 130)
      const {error} = assertRefused(ran, {code: 'INTERRUPTED', names: /goes on/, suggests: /dbaas operations wait op_/}, 'create, Ctrl-C')
      await settled(error.details?.operation_id as string)
    })

    it('does not wait at all with --no-wait', async () => {
      const {operation, ...rest} = (await site.json('delete', 'third', '--yes', '--no-wait')) as {operation: ApiOperation}
      assert.deepEqual([operation.kind, operation.ended_at, Object.keys(rest)], ['instance.delete', null, []])
      await settled(operation.id)
    })

    for (const [title, argv, code, names, suggests] of onDemo) {
      it(`refuses ${title}`, () => refuse(cli, argv, {code, names, suggests}))
    }

    it('refuses a restart into memory that the host lacks, and does not even begin it', async () => {
      const pid = async () => (await site.json('status', 'demo')).instance.nodes[0].pid as number
      const before = await pid()
      await refuse(cli, ['config', 'set', 'demo', 'shared_buffers=900GB'], {
        code: 'INSUFFICIENT_MEMORY', names: /needs 9\d\d\.\d GiB/, suggests: /^lower shared_buffers$/m,
      })
      assert.equal(await pid(), before)
    })

    it('tells where in the statement the mistake is', async () => {
      const ran = await cli('sql', 'demo', 'select nope', '--json')
      const {error} = assertRefused(ran, {code: 'SQL_ERROR', names: /column "nope"/, suggests: /character 8 of/}, 'sql')
      assert.deepEqual([ran.code, error.details?.position, error.details?.sqlstate], [1, '8', '42703'])
    })

    it('refuses the port of another instance, while that one is stopped, too', async () => {
      const {instance} = await site.json('status', 'twice')
      const taken = ['create', 'x', '--port', `${instance.endpoint.port}`]
      await refuse(cli, taken, {code: 'PORT_IN_USE', names: new RegExp(`${instance.endpoint.port}`), suggests: /--port/})
      assert.equal((await cli('stop', 'twice')).code, 0)
      await refuse(cli, taken, {code: 'PORT_IN_USE', names: new RegExp(`${instance.endpoint.port}`), suggests: /--port/})
      await refuse(cli, ['sql', 'twice', 'select 1'], {code: 'INVALID_STATE', names: /twice is stopped/, suggests: /dbaas start twice/})
      await refuse(cli, ['restart', 'twice'], {code: 'INVALID_STATE', names: /twice is stopped/, suggests: /dbaas start twice/})
    })

    it('refuses to delete a protected instance, even with --yes', async () => {
      assert.equal((await cli('protect', 'demo')).code, 0)
      await refuse(cli, ['delete', 'demo', '--yes'], {code: 'INSTANCE_PROTECTED', names: /demo is protected/, suggests: /dbaas unprotect demo/})
      assert.equal((await site.json('status', 'demo')).instance.status, 'running')
      assert.equal((await cli('unprotect', 'demo')).code, 0)
    })

    it('has refused everything before it began: every operation ended, and succeeded', async () => {
      // the first backup of an instance gives way to its delete, and to its stop
      const asked = (await operations()).filter(({kind, status}) => !(kind === 'backup.create' && status === 'cancelled'))
      assert.deepEqual([...new Set(asked.map(({kind, status}) => `${kind} ${status}`).filter((words) => !words.endsWith(' succeeded')))], [])
      assert.ok(asked.length > 0)
      assert.deepEqual((await site.json('sql', 'demo', 'select 1')).rows, [[1]])
    })

    it('leaves nothing when all is deleted', async () => {
      for (const name of ['demo', 'twice']) assert.equal((await cli('delete', name, '--yes')).code, 0)
      await nothingLeft()
    })
  })
})

/** Ctrl-C once the first step is done: only SIGINT to the command, as a terminal sends it. */
function interrupted(env: NodeJS.ProcessEnv, argv: readonly string[]): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(projectRoot, 'bin', 'run.js'), ...argv], {env, stdio: ['ignore', 'pipe', 'pipe']})
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (data: Buffer) => (stdout += data.toString()))
    child.stderr.on('data', (data: Buffer) => {
      if (stderr === '') child.kill('SIGINT')
      stderr += data.toString()
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({code: code ?? 128, stdout, stderr}))
  })
}
