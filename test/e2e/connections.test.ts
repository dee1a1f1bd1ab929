/** Ways into a database of every engine on every runtime: URLs, variables, the engine's own clients, the prompt, `run`. */
import assert from 'node:assert/strict'
import {mkdirSync, symlinkSync, writeFileSync} from 'node:fs'
import {dirname, join} from 'node:path'
import {findProgram} from '../../src/commands/_support/programs.js'
import {connectTo} from '../support/clients.js'
import {cells, prepareSite} from '../support/matrix.js'
import {madeBySite} from '../support/need.js'
import {projectRoot, run, temporarySite, type Ran, type Site} from '../support/site.js'

for (const cell of cells) {
  const isPostgresql = cell.engine === 'postgresql'
  describe(`connections to ${cell.title}`, function () {
    this.timeout(300_000)
    cell.need()
    let site: Site
    before(async () => {
      site = temporarySite('connections', {env: {...cell.env, DBAAS_POOL_SIZE: '0'}})
      await prepareSite(site, cell)
      const {code, stderr} = await site.run('create', 'demo', '--engine', cell.engine, '--runtime', cell.runtime, '--size', 'micro', ...cell.flags)
      assert.equal(code, 0, stderr)
    })
    after(() => site?.dispose())

    const withInput = (input: string, ...argv: string[]): Promise<Ran> => run([process.execPath, join(projectRoot, 'bin/run.js'), ...argv], {env: site.env, input})
    const url = async (...argv: string[]): Promise<string> => ((await site.json('url', 'demo', ...argv)) as {url: string}).url
    /** PATH with one client of the family alone, under the name that people know. */
    function onlyClient(name: string, program: string): NodeJS.ProcessEnv {
      const folder = join(dirname(site.home), `bin-${name}-${program.length}`)
      mkdirSync(folder, {recursive: true})
      for (const [link, target] of [[name, program], ['node', process.execPath], ['sh', '/bin/sh']] as const) symlinkSync(target, join(folder, link))
      return {...site.env, PATH: folder}
    }
    /** What of MySQL's and MariaDB's clients is here. */
    async function clients(): Promise<{name: string; program: string}[]> {
      const found = isPostgresql
        ? [{name: 'psql', program: await findProgram('psql')}]
        : [{name: 'mysql', program: await findProgram('bin/mysql', madeBySite('mysql', 'folder'))}, {name: 'mariadb', program: await findProgram('bin/mariadb', madeBySite('mariadb', 'folder'))},
          {name: 'mysql', program: await findProgram('mariadb')}]
      return found.filter((client): client is {name: string; program: string} => client.program !== undefined)
    }
    const encryption = isPostgresql ? 'select version from pg_stat_ssl where pid = pg_backend_pid()' : "show session status like 'Ssl_version'"
    const batch = isPostgresql ? ['-X', '-A', '-t', '-c', encryption] : ['--batch', '--skip-column-names', '-e', encryption]

    it('is reached by a driver with what the URL says', async () => {
      const parsed = new URL((await url()).replace(/^\w+:/, 'http:'))
      const {credentials} = await site.json('credentials', 'demo')
      assert.deepEqual(
        [parsed.hostname, Number(parsed.port), parsed.username, decodeURIComponent(parsed.password), parsed.pathname],
        [credentials.host, credentials.port, credentials.username, credentials.password, `/${credentials.database}`],
      )
      assert.equal(parsed.searchParams.get(isPostgresql ? 'sslrootcert' : 'ssl-ca'), credentials.ca_file)
      const client = await connectTo(site, 'demo')
      try {
        assert.equal((await client.query(encryption)).flat().at(-1), 'TLSv1.3')
      } finally {
        await client.close()
      }
    })

    it('is reached by every client of the family through the variables alone, the certificate checked', async function () {
      const found = await clients()
      if (found.length === 0) this.skip()
      for (const {name, program} of found) {
        // MySQL's client in a folder of its own does not find the plugin for MariaDB's way to sign in; connect tells it where
        if (cell.engine === 'mariadb' && program.startsWith(madeBySite('mysql', 'folder'))) continue
        const script = `eval "$1"; shift; exec "$@"`
        const ran = await run(['/bin/sh', '-c', script, 'sh', await url('--format', 'env'), program, ...batch], {env: site.env})
        assert.match(ran.stdout, /TLSv1\.3/, `${name} ${program}: ${ran.stderr}`)
        const wrong = join(dirname(site.home), 'wrong')
        mkdirSync(wrong, {recursive: true})
        writeFileSync(join(wrong, 'my.cnf'), '[client]\nuser=app\nssl-ca=/etc/hostname\n[client-mariadb]\nssl-verify-server-cert\n')
        const refused = await run(['/bin/sh', '-c', `eval "$1"; shift; PGSSLROOTCERT=/etc/hostname MYSQL_HOME='${wrong}' exec "$@"`, 'sh', await url('--format', 'env'), program, ...batch], {env: site.env})
        assert.notEqual(refused.code, 0, `${program} trusts anything`)
      }
    })

    it('is reached by every client of the family through connect', async function () {
      const found = await clients()
      if (found.length === 0) this.skip()
      for (const {name, program} of found) {
        const argv = [process.execPath, join(projectRoot, 'bin/run.js'), 'connect', 'demo', '--', ...batch]
        const ran = await run(argv, {env: onlyClient(name, program)})
        assert.match(ran.stdout, /TLSv1\.3/, `${name} ${program}: ${ran.stderr}`)
      }
    })

    it('is spoken to through the prompt, which needs none of them', async () => {
      const {code, stdout, stderr} = await withInput([
        'create table parents (id int primary key);', 'create table t (id int primary key, v varchar(20) default \'a;b\',', '  parent int references parents (id));',
        'insert into t (id) values (1);', '\\dt', '\\d t', 'select v', '\\l', 'from t;', '\\q', "select 'never';", '',
      ].join('\n'), 'connect', 'demo', '--built-in')
      assert.equal(code, 0, stderr)
      assert.match(stdout, /parents[\s\S]*\bt\b[\s\S]*id +int[\s\S]*a;b/)
      assert.doesNotMatch(stdout, /never/)
      const open = await withInput(isPostgresql ? 'begin;\n' : 'start transaction;\n', 'connect', 'demo', '--built-in')
      assert.match(open.stderr, /cannot stay open/)
      const helped = await withInput('\\?\n\\s\n', 'connect', 'demo', '--built-in')
      assert.match(helped.stdout, /\\dt +tables/)
      assert.equal(helped.code, isPostgresql ? 1 : 0)
    })

    it('runs statements', async () => {
      assert.deepEqual((await site.json('sql', 'demo', 'select 6 * 7 as answer')).rows, [[42]])
    })

    it('prints the forms that the engine has, and says of the others that it has not', async () => {
      assert.match(await url('--format', 'jdbc'), new RegExp(`^jdbc:${cell.engine}://127\\.0\\.0\\.1:`))
      if (isPostgresql) assert.match(await url('--format', 'libpq'), /sslmode=verify-full/)
      else {
        for (const argv of [['--format', 'libpq'], ['--read-only']]) {
          const {code, stderr} = await site.run('url', 'demo', ...argv)
          assert.equal(code, 2)
          assert.match(stderr, /NOT_SUPPORTED/)
        }
        assert.match(await url('--format', 'jdbc', '--read-only'), /sessionVariables=/)
      }
    })

    it('is made for one command, and is gone afterwards', async () => {
      const name = isPostgresql ? '$PGDATABASE' : '$MYSQL_DATABASE'
      const script = `echo "${name} \${DATABASE_URL%%:*}"; exec "${process.execPath}" "${join(projectRoot, 'bin/run.js')}" sql "$DBAAS_INSTANCE" "select 6 * 7 as answer" --json`
      const {code, stdout, stderr} = await site.run('run', '-q', '--engine', cell.engine, '--runtime', cell.runtime, '--size', 'micro', ...cell.flags, '--', 'sh', '-c', script)
      assert.equal(code, 0, stderr)
      assert.equal(stderr, '')
      assert.match(stdout, isPostgresql ? /^app postgresql\n/ : /^app mysql\n/)
      assert.match(stdout, /42/)
      let instances: {name: string}[] = []
      for (let i = 0; i < 100; i++) {
        instances = (await site.json('list')).instances
        if (instances.length === 1) break
      }
      assert.deepEqual(instances.map((instance) => instance.name), ['demo'])
    })
  })
}
