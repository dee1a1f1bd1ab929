import assert from 'node:assert/strict'
import {chmodSync, mkdirSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {splitArguments} from '../../src/commands/_support/arguments.js'
import {resolveProgram} from '../../src/commands/_support/run/program.js'
import {checkDashes, checkRun, runName} from '../../src/commands/_support/run/request.js'
import type {DbaasError} from '../../src/core/errors.js'
import {whyNotAName} from '../../src/core/instance/names.js'
import {temporaryFolder} from '../support/temporary.js'

const failsWith = (code: string, words: RegExp) => (error: DbaasError) => error.code === code && words.test(`${error.message} ${error.suggestions.join(' ')}`)

describe('what run is asked', () => {
  it('takes what follows -- for the command, and nothing else', () => {
    assert.deepEqual(splitArguments(['--engine', 'mysql', '--', 'npm', 'test', '--', '--watch']), {
      own: ['--engine', 'mysql'], rest: ['npm', 'test', '--', '--watch'], hasRest: true,
    })
    assert.deepEqual(splitArguments(['npm', 'test']), {own: ['npm', 'test'], rest: [], hasRest: false})
    assert.throws(() => checkDashes(['npm', 'test', '--watch'], false), failsWith('USAGE', /"npm".*dbaas run -- npm test --watch/))
    checkDashes(['--quiet'], false)
    checkDashes(['npm'], true)
  })

  it('needs a command', () => {
    assert.throws(() => checkRun({}, [], []), failsWith('USAGE', /missing CMD.*dbaas run -- npm test/))
    assert.throws(() => checkRun({}, ['x'], ['y']), failsWith('USAGE', /"x".*dbaas run -- x y/))
    checkRun({}, [], ['true'])
  })

  it('is refused what is not there yet, by name', () => {
    assert.throws(() => checkRun({from: 'demo'}, [], ['true']), failsWith('NOT_SUPPORTED', /run --from is not there yet/))
  })

  it('makes names that instances may have, each another', () => {
    const names = Array.from({length: 200}, runName)
    assert.deepEqual(names.filter((name) => whyNotAName(name) !== undefined), [])
    assert.equal(new Set(names).size, names.length)
  })
})

describe('the program that run is given', () => {
  const folder = temporaryFolder('program')
  after(() => folder.dispose())
  const file = (name: string, mode: number): string => {
    const path = join(folder.path, name)
    writeFileSync(path, '#!/bin/sh\n')
    chmodSync(path, mode)
    return path
  }

  it('is found as a shell finds it', async () => {
    const good = file('good', 0o755)
    const [first, second] = ['first', 'second'].map((name) => join(folder.path, name)) as [string, string]
    mkdirSync(first)
    mkdirSync(second)
    assert.equal(await resolveProgram(good), good)
    assert.equal(await resolveProgram('good', `${first}:${folder.path}`), good)
    // what cannot be run is passed over for what can
    mkdirSync(join(first, 'good'))
    writeFileSync(join(second, 'good'), '')
    assert.equal(await resolveProgram('good', `${first}:${second}:${folder.path}`), good)
  })

  it('is told from one that is not there (127) and one that cannot be run (126)', async () => {
    const plain = file('plain', 0o644)
    await assert.rejects(resolveProgram(plain), (error: DbaasError) => error.row.exit === 126 && /may not be executed/.test(error.message))
    await assert.rejects(resolveProgram('plain', folder.path), failsWith('PROGRAM_NOT_EXECUTABLE', /plain/))
    await assert.rejects(resolveProgram(folder.path), failsWith('PROGRAM_NOT_EXECUTABLE', /is a folder/))
    await assert.rejects(resolveProgram('first', folder.path), failsWith('PROGRAM_NOT_FOUND', /on PATH/))
    await assert.rejects(resolveProgram('/no/such'), (error: DbaasError) => error.row.exit === 127)
    await assert.rejects(resolveProgram('', '/usr/bin'), failsWith('PROGRAM_NOT_FOUND', /""/))
    await assert.rejects(resolveProgram('npm test', '/usr/bin'), failsWith('PROGRAM_NOT_FOUND', /dbaas run -- npm test/))
  })
})
