import assert from 'node:assert/strict'
import {rmSync} from 'node:fs'
import {setTimeout as sleep} from 'node:timers/promises'
import {createClient} from '../../src/agent/client/client.js'
import {holdLease} from '../../src/commands/_support/run/lease.js'
import {serve} from '../agent/http/serve.js'
import type {Serving} from '../agent/http/serve.js'

async function until(done: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !done(); i++) await sleep(10)
  assert.ok(done())
}

describe('the holder of a lease', () => {
  let s: Serving
  /** Of servers that another one took the place of. */
  const folders: string[] = []
  let open = 0
  let opened = 0
  const stays = (serving: Serving): void => {
    serving.services.logLines = async function* (signal) {
      open++
      opened++
      try {
        yield 'held'
        await sleep(60_000, undefined, {signal}).catch(() => undefined)
      } finally {
        open--
      }
    }
  }
  beforeEach(async () => {
    s = await serve()
    stays(s)
    open = opened = 0
  })
  afterEach(async () => {
    await s.stop().catch(() => undefined)
    for (const folder of folders.splice(0)) rmSync(folder, {recursive: true, force: true})
  })
  const hold = (name: string, onGone: () => void = () => assert.fail('it is gone')) => holdLease(createClient({target: {socketPath: s.socketPath}}), name, onGone)

  it('keeps one stream open until it lets go', async () => {
    const lease = hold('demo-1')
    await until(() => open === 1)
    await sleep(200)
    assert.equal(opened, 1)
    lease.release()
    await until(() => open === 0)
  })

  it('opens it again when it ends, and when the agent comes back', async () => {
    s.services.logLines = async function* () {
      opened++
      yield 'held'
    }
    const lease = hold('demo-1')
    await until(() => opened >= 3)
    const {socketPath, folder} = s
    // the next server listens in it
    folders.push(folder)
    await s.server.close()
    await sleep(700)
    s = await serve({}, 3, socketPath)
    stays(s)
    await until(() => open === 1)
    lease.release()
    await until(() => open === 0)
  })

  it('is told when the instance is gone, once', async () => {
    let gone = 0
    hold('no-such', () => gone++)
    await until(() => gone === 1)
    await sleep(300)
    assert.equal(gone, 1)
  })

  it('lets go also while the agent is away', async () => {
    await s.stop()
    const lease = hold('demo-1')
    await sleep(150)
    lease.release()
    await sleep(50)
  })
})
