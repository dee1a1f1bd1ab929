import assert from 'node:assert/strict'
import fc from 'fast-check'
import {wholeLines} from '../../src/commands/_support/text-stream.js'
import {plain, wantsColour} from '../../src/commands/_support/render/paint.js'
import {renderDetails} from '../../src/commands/_support/render/details.js'
import {renderInstance, renderList, renderReady} from '../../src/commands/_support/render/instance.js'
import {renderFailure} from '../../src/commands/_support/render/failure.js'
import {renderPlan} from '../../src/commands/_support/render/operation.js'
import {renderSql, renderVertical} from '../../src/commands/_support/render/sql.js'
import {stepLine} from '../../src/commands/_support/render/steps.js'
import {visible} from '../../src/commands/_support/render/visible.js'
import {DbaasError} from '../../src/core/errors.js'
import {anInstance} from '../support/fake-services.js'

describe('text for people', () => {
  it('shows control characters instead of obeying them', () => {
    fc.assert(fc.property(fc.string({unit: 'binary', maxLength: 40}), (text) => {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
      assert.doesNotMatch(visible(text), /[\u0000-\u0008\u000B-\u001F\u007F-\u009F]/)
    }), {numRuns: 300})
    assert.equal(visible('a\u001B[31mb\tc\nd'), 'a\\x1b[31mb\tc\nd')
  })

  it('aligns columns, numbers to the right, and tells NULL from an empty text', () => {
    const columns = [{name: 'id', type: 'integer'}, {name: 'v', type: 'text'}]
    const result = {columns, rows: [[1, 'a'], [100, null], [7, '']], row_count: 3, command: 'SELECT', truncated: false}
    assert.equal(renderSql(result, plain), ' id  v\n  1  a\n100  NULL\n  7\n3 rows\n')
    assert.equal(renderSql({columns: [], rows: [], row_count: 2, command: 'INSERT', truncated: false}, plain), 'INSERT 2\n')
    assert.match(renderSql({...result, truncated: true}, plain), /the first 3 rows; there are more/)
  })

  it('shows rows one below the other, as MySQL\'s \\G asks', () => {
    const result = {columns: [{name: 'id', type: 'int'}, {name: 'long', type: 'text'}], rows: [[1, 'a'], [2, null]], row_count: 2, command: 'SELECT', truncated: false}
    assert.equal(renderVertical(result, plain), '--- row 1\nid    1\nlong  a\n--- row 2\nid    2\nlong  NULL\n2 rows\n')
    assert.equal(renderVertical({columns: [], rows: [], row_count: 2, command: 'INSERT', truncated: false}, plain), 'INSERT 2\n')
  })

  const image = {reference: 'postgres:18', digest: `sha256:${'ab'.repeat(32)}`, id: `sha256:${'cd'.repeat(32)}`}
  const [node] = anInstance(1).nodes
  const inContainer = anInstance(1, {runtime: 'docker', image, nodes: [{...node, pid: null, container: 'ef'.repeat(32)} as NonNullable<typeof node>]})

  it('shows the runtime of each, and images and containers only where there are any', () => {
    const now = Date.parse(inContainer.created_at)
    assert.match(renderList([anInstance(1)], now, plain), /^NAME +STATUS +ENGINE +RUNTIME +SIZE[^\n]*\ndemo-1 +running +postgresql 18\.4 +process +small/)
    assert.doesNotMatch(renderList([anInstance(1)], now, plain), /IMAGE/)
    const list = renderList([anInstance(2), inContainer], now, plain)
    assert.match(list, /RUNTIME +IMAGE/)
    assert.match(list, /demo-2 .* process +- /)
    assert.match(list, /demo-1 .* docker +postgres:18@sha256:abababababab /)
    const status = renderInstance(inContainer, now, plain)
    assert.match(status, /engine +postgresql 18\.4 on docker\n +image +postgres:18@sha256:abababababab\n/)
    assert.match(status, /ADDRESS +CONTAINER[\s\S]*efefefefefef\n/)
    assert.doesNotMatch(status, /PID/)
    assert.match(renderInstance(anInstance(1), now, plain), /ADDRESS +PID[\s\S]*4711/)
    // an image that came from no registry is told by its own id; one that was asked for by its digest says it already
    assert.match(renderInstance({...inContainer, image: {...image, digest: null}}, now, plain), /postgres:18@sha256:cdcdcdcdcdcd\n/)
    assert.match(renderInstance({...inContainer, image: {...image, reference: `postgres@${image.digest}`}}, now, plain), new RegExp(`image +postgres@${image.digest}\n`))
  })

  it('says of a leased one when it goes, and of one for a command where it is', () => {
    const leased = anInstance(1, {leased: true})
    assert.match(renderInstance(leased, 0, plain), /deletion +when the command that made it has ended/)
    assert.equal(renderReady(leased, Date.parse(leased.created_at) + 250, plain), '✓ demo-1 is running: postgresql 18.4 at 127.0.0.1:15433  250 ms\n')
  })

  it('leaves out details that are not there', () =>
    assert.equal(renderDetails([['a', 'x'], ['long', undefined], ['bcd', 'y\nz']], plain), '  a    x\n  bcd  y\n       z\n'))

  it('ends an error with what to do, its code and its request', () => {
    const error = new DbaasError('SQL_ERROR', 'no such table', {details: {hint: 'look again', operation_id: 'op_1'}, suggestions: ['dbaas list']})
    assert.equal(renderFailure(error, 'req_1', plain), '✗ no such table\n  hint: look again\n  → dbaas list\n  SQL_ERROR, exit 1, operation op_1, req_1\n')
  })

  it('says of a plan that nothing was changed, and of a restart that its downtime is not known', () => {
    const text = renderPlan({steps: ['stop', 'start'], impact: 'restart', expected_downtime_ms: null, cost_month_delta: null, reversible: true}, plain)
    assert.match(text, /nothing was changed[\s\S]*1\. stop\n\s+2\. start[\s\S]*not measured here yet/)
  })

  it('says what a step waits for', () => {
    const step = {name: 'await-ready', status: 'waiting', started_at: '2026-01-01T00:00:00.000Z', ended_at: null, because: 'starting up'} as const
    assert.equal(stepLine(step, Date.parse('2026-01-01T00:00:01.500Z'), plain), '… await-ready waits  1.5 s  starting up')
  })

  it('uses colour on a terminal alone, unless told otherwise', () => {
    assert.equal(wantsColour({isTTY: true}, {TERM: 'xterm'}), true)
    assert.equal(wantsColour({isTTY: false}, {}), false)
    assert.equal(wantsColour({isTTY: true}, {NO_COLOR: '1', FORCE_COLOR: '1'}), false)
    assert.equal(wantsColour({isTTY: true}, {NO_COLOR: ''}), true)
    assert.equal(wantsColour({isTTY: true}, {TERM: 'dumb'}), false)
    assert.equal(wantsColour({}, {FORCE_COLOR: '1'}), true)
  })
})

describe('a stream of text', () => {
  it('is the same lines however it was cut', async () => {
    const line = fc.stringMatching(/^[a-z ]{0,8}$/)
    await fc.assert(fc.asyncProperty(fc.array(line, {maxLength: 8}), fc.array(fc.nat(6), {maxLength: 20}), async (lines, cuts) => {
      const text = lines.map((each) => `${each}\n`).join('')
      async function* chunks() {
        let at = 0
        for (const cut of cuts) yield text.slice(at, (at += cut))
        yield text.slice(at)
      }
      const seen: string[] = []
      for await (const each of wholeLines(chunks())) seen.push(each)
      assert.deepEqual(seen, lines)
    }), {numRuns: 200})
  })
})
