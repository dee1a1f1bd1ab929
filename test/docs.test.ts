import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {errorsPage, propertiesPage} from '../scripts/docs.js'

describe('generated pages', () => {
  it('are fresh: docs/errors.md is the table of errors', () => assert.equal(readFileSync('docs/errors.md', 'utf8'), errorsPage()))
  it('are fresh: docs/properties.md is what the tags in the tests say', () => assert.equal(readFileSync('docs/properties.md', 'utf8'), propertiesPage()))
})
