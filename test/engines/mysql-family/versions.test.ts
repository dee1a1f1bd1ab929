import assert from 'node:assert/strict'
import {mariadb} from '../../../src/engines/mariadb/index.js'
import {mysql} from '../../../src/engines/mysql/index.js'

describe('versions of MySQL and MariaDB', () => {
  const outputs: readonly (readonly [output: string, asMysql: string | undefined, asMariadb: string | undefined])[] = [
    ['/usr/sbin/mysqld  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server - GPL)', '8.4.3', undefined],
    ['mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))', '9.7.4', undefined],
    ['/opt/my sql/bin/mysqld  Ver 8.4.3-commercial for Linux on x86_64 (MySQL Enterprise Server - Commercial)', '8.4.3', undefined],
    ['/usr/local/mysql/bin/mysqld  Ver 9.1.0 for macos14 on arm64 (MySQL Community Server - GPL)', '9.1.0', undefined],
    ['mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)', undefined, '10.11.19'],
    // a link to MariaDB's server
    ['/usr/sbin/mysqld  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)', undefined, '10.11.19'],
    ['mariadbd  Ver 11.8.2-MariaDB-ubu2404 for debian-linux-gnu on x86_64 (mariadb.org binary distribution)', undefined, '11.8.2'],
    ['mysqld  Ver 8.4.3-3 for Linux on x86_64 (Percona Server (GPL), Release 3, Revision 2fc1fe67)', undefined, undefined],
    ['mysqld  Ver 9.8.0-rc for Linux on x86_64 (MySQL Community Server - GPL)', undefined, undefined],
    ['mysqld: error while loading shared libraries: libaio.so.1', undefined, undefined],
    ['postgres (PostgreSQL) 18.4', undefined, undefined],
    ['', undefined, undefined],
  ]
  for (const [output, asMysql, asMariadb] of outputs) {
    it(`are read from ${JSON.stringify(output.slice(0, 60))}`, () => {
      assert.equal(mysql.versions.parseVersion(output), asMysql)
      assert.equal(mariadb.versions.parseVersion(output), asMariadb)
    })
  }

  it('are supported by their series, full or as a beginning', () => {
    for (const version of ['8', '8.4', '8.4.3', '9', '9.0', '9.7.4']) assert.equal(mysql.versions.supports(version), true, version)
    for (const version of ['8.0', '8.0.36', '5.7', '9.8', '9.70', '10', '10.11']) assert.equal(mysql.versions.supports(version), false, version)
    for (const version of ['10', '10.11', '10.11.19', '11', '11.4.2', '11.8']) assert.equal(mariadb.versions.supports(version), true, version)
    for (const version of ['10.6', '10.6.1', '11.0', '11.2.1', '12', '8.4', '1']) assert.equal(mariadb.versions.supports(version), false, version)
  })

  it('have what their series has', () => {
    assert.deepEqual([mysql.versions.has('8.4.3', 'vector'), mysql.versions.has('9.0', 'vector'), mysql.versions.has('9', 'vector')], [false, true, true])
    assert.deepEqual([mariadb.versions.has('10.11.19', 'vector'), mariadb.versions.has('11.8.2', 'vector')], [false, true])
  })

  it('have times in their logs, in UTC', () => {
    assert.equal(mysql.logTime('2026-11-23T19:41:14.211123Z 0 [System] [MY-010116] [Server] starting'), Date.UTC(2026, 10, 23, 19, 41, 14, 211))
    assert.equal(mariadb.logTime('2026-11-23  9:41:14 0 [Note] Starting MariaDB'), Date.UTC(2026, 10, 23, 9, 41, 14))
    assert.equal(mariadb.logTime('2026-11-23 19:41:14 0 [Note] Starting MariaDB'), Date.UTC(2026, 10, 23, 19, 41, 14))
    for (const line of ['', "Version: '10.11.19-MariaDB'  socket: ''  port: 3306", 'mysqld: [ERROR] no']) {
      assert.equal(mysql.logTime(line), undefined)
      assert.equal(mariadb.logTime(line), undefined)
    }
  })
})
