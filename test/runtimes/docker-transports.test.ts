/** The ways to an engine that is not behind a socket of this machine: the real one, reached by them. */
import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {chmodSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {connect, createServer, type AddressInfo, type Server, type Socket} from 'node:net'
import {join} from 'node:path'
import tls from 'node:tls'
import type {Runtime} from '../../src/agent/runtimes/runtime.js'
import {dockerOrSkip, images} from '../support/docker.js'
import {needOrSkip} from '../support/need.js'
import {temporaryFolder} from '../support/temporary.js'
import {testAuthority} from '../engines/certificates.js'
import {fakeDockerSite, type FakeSite} from './docker-fake-site.js'

describe('the docker runtime by other ways than a socket', () => {
  dockerOrSkip(images.client)
  const folder = temporaryFolder('transports')
  const servers: Server[] = []
  let site: FakeSite

  before(async () => {
    site = await fakeDockerSite()
  })
  after(async () => {
    for (const server of servers) server.close()
    await site?.dispose()
    folder.dispose()
  })

  const forward = (client: Socket): void => {
    const upstream = connect('/var/run/docker.sock')
    client.pipe(upstream).pipe(client)
    client.on('error', () => upstream.destroy())
    upstream.on('error', () => client.destroy())
  }
  const listening = (server: Server): Promise<number> => new Promise((resolve) => {
    servers.push(server)
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
  })

  /** Everything that hijacks a connection, streams or uploads. */
  async function works(runtime: Runtime): Promise<void> {
    try {
      assert.ok((await runtime.facts()).cpus > 0)
      const {node, ref} = await site.started(runtime)
      const host = runtime.host(node)
      const path = join(host.paths.data, 'written')
      await host.write({path, content: 'x'.repeat(100_000)})
      assert.equal((await host.read(path))?.length, 100_000)
      assert.deepEqual(await host.exec(['cat'], {stdin: 'there and back'}), {code: 0, stdout: 'there and back', stderr: '', timedOut: false})
      const ended = new Promise((resolve) => runtime.watch(node, ref, resolve))
      await runtime.signal(node, ref, 'SIGTERM')
      assert.deepEqual(await ended, {exitCode: 7, because: null})
      await site.clear(runtime)
    } finally {
      await runtime.close()
    }
  }

  it('works over TCP', async () => {
    const port = await listening(createServer({allowHalfOpen: true}, forward))
    await works(await site.open({DOCKER_HOST: `tcp://127.0.0.1:${port}`}))
  })

  it('works over TLS, with certificates on both sides, and refuses an engine that another authority vouches for', async () => {
    const authority = await testAuthority()
    const server = await authority.server(['localhost'])
    const client = await authority.admin('docker client')
    const port = await listening(tls.createServer({
      key: server.key, cert: server.certificate, ca: authority.ca, requestCert: true, rejectUnauthorized: true, allowHalfOpen: true,
    } as tls.TlsOptions, forward) as unknown as Server)
    const write = (name: string, ca: string): string => {
      const certs = join(folder.path, name)
      mkdirSync(certs)
      for (const [file, text] of [['ca', ca], ['cert', client.certificate], ['key', client.key]] as const) writeFileSync(join(certs, `${file}.pem`), text)
      return certs
    }
    const env = {DOCKER_HOST: `tcp://localhost:${port}`, DOCKER_TLS_VERIFY: '1'}
    await works(await site.open({...env, DOCKER_CERT_PATH: write('right', authority.ca)}))
    const deceived = await site.open({...env, DOCKER_CERT_PATH: write('wrong', (await testAuthority()).ca)})
    await assert.rejects(deceived.facts(), {code: 'RUNTIME_UNAVAILABLE'})
    await deceived.close()
  })

  describe('over ssh', () => {
    needOrSkip(() => {
      try {
        execFileSync('docker', ['--version'], {stdio: 'ignore'})
        return undefined
      } catch {
        return 'there is no docker command on this machine'
      }
    })

    it('runs the ssh program of the machine, and asks it nothing', async () => {
      const bin = join(folder.path, 'bin')
      mkdirSync(bin)
      // what would run at the other end
      writeFileSync(join(bin, 'ssh'), `#!/bin/sh\necho "$@" >> ${folder.path}/asked\nunset DOCKER_HOST\nwhile [ "$1" != -- ]; do shift; done\nshift 2\nexec "$@"\n`)
      chmodSync(join(bin, 'ssh'), 0o755)
      await works(await site.open({DOCKER_HOST: 'ssh://me@127.0.0.1:2222', PATH: `${bin}:${process.env.PATH}`}))
      assert.match(readFileSync(join(folder.path, 'asked'), 'utf8'), /BatchMode=yes .*-l me -p 2222 -- 127.0.0.1 docker system dial-stdio/)
    })

    it('says what ssh says when it does not come through', async () => {
      const bin = join(folder.path, 'failing')
      mkdirSync(bin)
      writeFileSync(join(bin, 'ssh'), '#!/bin/sh\necho "me@far: Permission denied (publickey)." >&2\nexit 255\n')
      chmodSync(join(bin, 'ssh'), 0o755)
      const runtime = await site.open({DOCKER_HOST: 'ssh://me@far', PATH: `${bin}:${process.env.PATH}`})
      await assert.rejects(runtime.facts(), {code: 'RUNTIME_UNAVAILABLE', message: /Permission denied \(publickey\)/})
      assert.match(String(await runtime.whyNotPublish(null)), /another machine/)
      await runtime.close()
    })
  })
})
