import assert from 'node:assert/strict'
import {DbaasError} from '../../src/core/errors.js'
import {engines, findEngine} from '../../src/engines/index.js'
import {engineNames} from '../../src/engines/names.js'

describe('the list of engines', () => {
  it('finds each by its name, in any case, and by its aliases', () => {
    for (const name of engineNames) assert.equal(findEngine(name).name, name)
    assert.equal(findEngine('Postgres'), engines.postgresql)
    assert.equal(findEngine('pg'), engines.postgresql)
    assert.equal(findEngine('MariaDB'), engines.mariadb)
    assert.equal(findEngine('maria'), engines.mariadb)
    assert.equal(findEngine('mysqld'), engines.mysql)
  })

  it('suggests the nearest name for a mistyped one', () => {
    assert.throws(
      () => findEngine('postgrsql'),
      (error: unknown) =>
        error instanceof DbaasError &&
        error.code === 'UNKNOWN_ENGINE' &&
        error.suggestions[0] === '--engine postgresql',
    )
    assert.throws(
      () => findEngine('constructor'),
      (error: unknown) => error instanceof DbaasError && error.code === 'UNKNOWN_ENGINE',
    )
  })

  it('looks among the engines it is given, so that one can be added at run time', () => {
    const another = {...engines.postgresql, name: 'another'}
    assert.equal(findEngine('another', {...engines, another}), another)
  })
})
