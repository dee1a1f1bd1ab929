import assert from 'node:assert/strict'
import {createSpells} from '../../../src/core/backup/spells.js'

describe('spells of trouble', () => {
  it('are one while trouble comes back within the calm, and new after it', () => {
    const spells = createSpells(1000)
    assert.equal(spells.began('a', 100), 100)
    assert.equal(spells.began('a', 5000), 100)
    spells.ended('a', 6000)
    // being well for longer does not move the end
    spells.ended('a', 6900)
    assert.equal(spells.began('b', 6950), 6950)
    assert.equal(spells.began('a', 6999), 100)
    spells.ended('a', 7000)
    assert.equal(spells.began('a', 8000), 8000)
    spells.forget('a')
    assert.equal(spells.began('a', 8100), 8100)
  })
})
