/** Who removes something is alone, and what is on its way out has gone before. */
import assert from 'node:assert/strict'
import {createUses} from '../../../src/agent/archiver/turns.js'

const gate = () => {
  let open = (): void => undefined
  const passed = new Promise<void>((resolve) => (open = resolve))
  return {open, passed}
}
const soon = () => new Promise((resolve) => setTimeout(resolve, 5))
const gone = new Error('it is removed')

describe('uses of something that is removed', () => {
  it('go on beside each other, and each has what its work answers', async () => {
    const uses = createUses()
    const first = gate()
    const slow = uses.use('a', new AbortController(), async () => {
      await first.passed
      return 1
    })
    assert.equal(await uses.use('a', new AbortController(), async () => 2), 2)
    first.open()
    assert.equal(await slow, 1)
    await assert.rejects(uses.use('a', new AbortController(), () => Promise.reject(gone)), gone)
  })

  it('are told to end, and have ended before the removal begins, however long that takes', async () => {
    const uses = createUses()
    const said: string[] = []
    const controller = new AbortController()
    const farewell = gate()
    const use = uses.use('a', controller, async () => {
      await farewell.passed
      said.push('the last is written')
    })
    const removal = uses.remove('a', gone, async () => void said.push('removed'))
    await soon()
    assert.deepEqual([controller.signal.reason, said], [gone, []])
    farewell.open()
    await Promise.all([use, removal])
    assert.deepEqual(said, ['the last is written', 'removed'])
  })

  it('wait while it is removed, and do not begin when their end came meanwhile', async () => {
    const uses = createUses()
    const said: string[] = []
    const removing = gate()
    const removal = uses.remove('a', gone, async () => {
      await removing.passed
      said.push('removed')
    })
    const controller = new AbortController()
    const late = uses.use('a', controller, async () => void said.push('too late'))
    const later = uses.use('a', new AbortController(), async () => void said.push('anew'))
    const elsewhere = uses.use('b', new AbortController(), async () => void said.push('elsewhere'))
    await elsewhere
    controller.abort(gone)
    removing.open()
    await removal
    await assert.rejects(late, gone)
    await later
    assert.deepEqual(said, ['elsewhere', 'removed', 'anew'])
  })

  it('go on after a removal that failed; removals come one after the other', async () => {
    const uses = createUses()
    const said: string[] = []
    const first = gate()
    const failed = uses.remove('a', gone, async () => {
      await first.passed
      throw new Error('the disk is away')
    })
    const second = uses.remove('a', gone, async () => void said.push('second'))
    const use = uses.use('a', new AbortController(), async () => void said.push('use'))
    await soon()
    assert.deepEqual(said, [])
    first.open()
    await assert.rejects(failed, /the disk is away/)
    await Promise.all([second, use])
    assert.deepEqual(said, ['second', 'use'])
  })
})
