import {localSite} from './support/local-host.js'
import {testAuthority} from './engines/certificates.js'
import {engines} from '../src/engines/index.js'
import {renderFiles} from '../src/engines/mysql-family/files.js'
import {dialect as my} from '../src/engines/mysql/dialect.js'
import {dialect as ma} from '../src/engines/mariadb/dialect.js'
import {asAdmin} from '../src/engines/mysql-family/client.js'
const which = process.argv[2] as 'mysql' | 'mariadb'
const bin = which === 'mysql' ? '/opt/dbaas-test/mysql/mysql-9.7.4-linux-glibc2.28-x86_64/bin' : '/opt/dbaas-test/mariadb/mariadb-10.11.19-linux-systemd-x86_64/bin'
const engine = engines[which]; const dialect = which === 'mysql' ? my : ma
const version = which === 'mysql' ? '9.7.4' : '10.11.19'
const t = (l: string) => { console.log(l, Math.round(performance.now() - last)); last = performance.now() }
let last = performance.now()
const site = await localSite(bin)
try {
  const a = await testAuthority(); const admin = await a.admin('dbaas_admin')
  const host = await site.place('main')
  last = performance.now()
  await engine.lifecycle.initialise(host, version); t('initialise')
  for (const f of await renderFiles(dialect, host, {version, instanceName: 'demo', values: {}, tls: await a.server()})) await host.write(f)
  t('write')
  const s = await site.start(host, engine.lifecycle.command(host, version))
  try {
  for (let i = 0; i < 3000; i++) { const not = await engine.lifecycle.whyNotReady(host, admin); if (!not) break; await new Promise(r => setTimeout(r, 10)) ; if (s.child.exitCode !== null) break }
  t('ready')
  await engine.access.grantApplication(host, admin, {database: 'app', username: 'app', password: 'p§'}); t('grant')
  const client = {...host.address(), database: 'app', username: 'app', password: 'p§', ca: a.ca, serverName: 'localhost'}
  console.log(await engine.access.probe(client, 5000)); t('probe')
  const q = async (sql: string, o = {}) => { try { console.log(sql.slice(0, 60), JSON.stringify(await engine.access.query(client, sql, {timeoutMs: 5000, maxRows: 10, ...o}))) } catch (e: any) { console.log(sql.slice(0, 60), e.code, e.message, e.details) } t('') }
  await q("select 1, 1152921504606846976, 1.5e0, true, 'text', null")
  await q('create table pairs (n int, b blob, t text, j json, e enum("a","b"), s set("x","y"), bi bit(9), d decimal(9,2), dt datetime(3), y year, vb varbinary(3), c char(3), ti tinyint(1), u bigint unsigned)')
  await q("insert into pairs values (1, x'00ff', 'ä', '{\"a\": 1}', 'a', 'x,y', b'101', 1.5, now(3), 2024, 'abc', 'abc', 1, 18446744073709551615)")
  await q('select * from pairs')
  await q('select count(*) from pairs; insert into pairs(n) values (1), (2)')
  await q('select sleep(60)', {timeoutMs: 300})
  await q('with recursive t(n) as (select 1 union all select n+1 from t where n < 1000) select t.n from t, t t2, t t3 limit 50000000')
  await q('with recursive t(n) as (select 1 union all select n+1 from t where n < 1000) select t.n from t, t t2 limit 500; select 7 as x')
  await q('select no_such_column'); await q('this is no SQL'); await q('select 1; select nope'); await q("load data local infile '/etc/passwd' into table pairs")
  await q('show databases'); await q('-- nothing'); await q('select user, host from mysql.user')
  await q('select @@port, @@socket, @@ssl_ca, @@tls_version, @@server_id, @@log_bin, @@sql_mode')
  const rows = await asAdmin(dialect, host, admin, (c) => c.query('select user, host, plugin, authentication_string, ssl_type, x509_subject from mysql.user'))
  console.log(rows)
  console.log((await asAdmin(dialect, host, admin, (c) => c.query("show grants for 'app'@'%'"))))
  console.log(((await asAdmin(dialect, host, admin, (c) => c.query(dialect.globalVariables))) as any[]).filter((r) => r.origin === 'running'))
  t(''); await engine.lifecycle.checkpoint(host, admin); t('checkpoint')
  await engine.lifecycle.reload(host, admin); t('reload')
  console.log(((await asAdmin(dialect, host, admin, (c) => c.query(dialect.globalVariables))) as any[]).filter((r) => r.origin === 'running'))
  await site.stop(s, 'SIGTERM'); t('stop')
  } catch (e) { console.log(e) }
  console.log(s.log())
  console.log(await host.list(host.paths.data), await host.list(host.paths.tmp))
} finally { await site.close() }
