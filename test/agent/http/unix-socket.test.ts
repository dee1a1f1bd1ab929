import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {existsSync, readFileSync, statSync, writeFileSync} from 'node:fs'
import {createServer} from 'node:http'
import type {Server} from 'node:http'
import {join} from 'node:path'
import {listenOnUnixSocket} from '../../../src/agent/http/unix-socket.js'
import {temporaryFolder} from '../../support/temporary.js'
import {speak} from './speak.js'

describe('the socket of the API', () => {
  const folder = temporaryFolder('socket')
  const servers: Server[] = []
  const listen = async (path: string): Promise<void> => {
    const server = createServer((_, response) => response.end('here'))
    servers.push(server)
    await listenOnUnixSocket(server, path)
  }
  after(async () => {
    for (const server of servers) await new Promise((resolve) => server.close(resolve))
    folder.dispose()
  })

  it('can be opened by its owner alone, whatever the umask, which stays as it was', async () => {
    const before = process.umask(0)
    try {
      const path = join(folder.path, 'deep', 'er', 'agent.sock')
      const listening = listen(path)
      await Promise.resolve()
      await listening
      assert.equal(statSync(path).mode & 0o777, 0o600)
      assert.equal(statSync(join(folder.path, 'deep')).mode & 0o777, 0o700)
      assert.equal(process.umask(0), 0)
      assert.equal((await speak(path, 'GET', '/')).text, 'here')
    } finally {
      process.umask(before)
    }
  })

  it('replaces what a killed agent left', async () => {
    const path = join(folder.path, 'stale.sock')
    spawnSync(process.execPath, [
      '-e',
      'require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))',
      path,
    ])
    assert.ok(existsSync(path))
    await listen(path)
    assert.equal((await speak(path, 'GET', '/')).text, 'here')
  })

  it('leaves alone a socket that answers, and a file that is no socket', async () => {
    const living = join(folder.path, 'living.sock')
    await listen(living)
    await assert.rejects(listen(living), {code: 'HOME_UNUSABLE'})
    assert.equal((await speak(living, 'GET', '/')).text, 'here')
    const file = join(folder.path, 'file')
    writeFileSync(file, 'precious')
    await assert.rejects(listen(file), {code: 'HOME_UNUSABLE'})
    assert.equal(readFileSync(file, 'utf8'), 'precious')
  })

  it('says so when the path is too long to be one', async () => {
    await assert.rejects(listen(join(folder.path, 'x'.repeat(200))), {code: 'HOME_UNUSABLE'})
  })
})
