import assert from 'node:assert/strict'
import {writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {parseKey} from '../../src/commands/_support/key-request.js'
import {repositoryBody} from '../../src/commands/_support/repository-request.js'
import type {DbaasError} from '../../src/core/errors.js'
import {temporaryFolder} from '../support/temporary.js'

describe('what repositories add sends', () => {
  const folder = temporaryFolder('repository-request')
  after(() => folder.dispose())
  const file = (text: string): string => {
    const path = join(folder.path, 'credentials')
    writeFileSync(path, text)
    return path
  }
  const environment = {AWS_ACCESS_KEY_ID: 'of-environment', AWS_SECRET_ACCESS_KEY: 'secret-of-environment'}

  it('is a folder by its path alone, whatever the environment holds', async () => {
    assert.deepEqual(await repositoryBody('nas', '/mnt/nas', {profile: 'default'}, environment), {name: 'nas', location: '/mnt/nas'})
  })

  it('takes credentials of a bucket from the environment, or from a section of a file, which wins', async () => {
    const {settings} = await repositoryBody('c', 's3://b/p', {profile: 'default', region: 'eu-west-1', 'path-style': false, 'copy-of': 'local', plan: true}, {...environment, AWS_SESSION_TOKEN: 'token'})
    assert.deepEqual(settings, {region: 'eu-west-1', style: 'host', accessKeyId: 'of-environment', secretAccessKey: 'secret-of-environment', sessionToken: 'token'})
    const credentials = file('[default]\naws_access_key_id = one\naws_secret_access_key=two+/=\n\n[ other ]\nregion = x\naws_access_key_id=three\naws_secret_access_key = four\n')
    assert.deepEqual((await repositoryBody('c', 's3://b', {profile: 'default', credentials}, environment)).settings, {accessKeyId: 'one', secretAccessKey: 'two+/='})
    assert.deepEqual((await repositoryBody('c', 's3://b', {profile: 'other', credentials}, environment)).settings, {accessKeyId: 'three', secretAccessKey: 'four'})
    assert.equal((await repositoryBody('c', 's3://b', {profile: 'default'}, {AWS_ACCESS_KEY_ID: 'alone'})).settings, undefined)
  })

  it('refuses a file without credentials, and does not repeat what is in it', async () => {
    for (const text of ['', '[other]\naws_access_key_id=hidden\naws_secret_access_key=hidden\n', 'aws_access_key_id=hidden\n', 'hidden hidden\n']) {
      await assert.rejects(repositoryBody('c', 's3://b', {profile: 'default', credentials: file(text)}, environment), (error: DbaasError) => error.code === 'USAGE' && !JSON.stringify(error.toDetail()).includes('hidden'))
    }
    await assert.rejects(repositoryBody('c', 's3://b', {profile: 'default', credentials: join(folder.path, 'absent')}, environment), {code: 'FILE_NOT_FOUND'})
  })

  it('reads a key as it was exported, and repeats no other', () => {
    const key = '0123456789abcdef'.repeat(4)
    for (const text of [key, `${key}\n`, key.toUpperCase(), Buffer.from(key, 'hex').toString('base64'), JSON.stringify({keys: [{id: 'x', key, source: 'y'}]})]) assert.equal(parseKey(text, 'f'), key)
    for (const text of ['', 'secret', key.slice(1), '{"keys":[]}', '{secret', '{"keys":[{"key":5}]}']) {
      assert.throws(() => parseKey(text, 'f'), (error: DbaasError) => error.code === 'USAGE' && !JSON.stringify(error.toDetail()).includes('secret'))
    }
  })
})
