/** What a person configures of a bucket: where it leads, and what is refused, never with a secret in the words. */
import assert from 'node:assert/strict'
import {inspect} from 'node:util'
import {openConfiguredS3} from '../../../../src/agent/repositories/s3/index.js'
import {optionsOf, resolveTarget, type S3Options} from '../../../../src/agent/repositories/s3/options.js'
import {secretSettings} from '../../../../src/agent/repositories/index.js'

const credentials = {accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'a-very-secret-word'}
const resolve = (options: Partial<S3Options>, environment: Record<string, string> = {}) => resolveTarget({bucket: 'backups', credentials, ...options}, environment)

describe('options of a bucket', () => {
  it('lead to Amazon by default, the bucket in the name of the host', () => {
    const {host, port, authority, base, tls, where} = resolve({region: 'eu-central-1', prefix: '/site/1/'})
    assert.deepEqual({host, port, authority, base, tls}, {host: 'backups.s3.eu-central-1.amazonaws.com', port: 443, authority: 'backups.s3.eu-central-1.amazonaws.com', base: '', tls: true})
    assert.equal(where, 'https://s3.eu-central-1.amazonaws.com/backups/site/1')
    assert.equal(resolve({region: 'cn-north-1'}).host, 'backups.s3.cn-north-1.amazonaws.com.cn')
    // No certificate is for *.*.s3.amazonaws.com.
    assert.equal(resolve({bucket: 'my.backups'}).base, '/my.backups')
  })

  it('lead to another server, the bucket in the path unless asked otherwise', () => {
    const one = resolve({endpoint: 'https://s3.example.org:9000/storage/'})
    assert.deepEqual([one.host, one.port, one.authority, one.base], ['s3.example.org', 9000, 's3.example.org:9000', '/storage/backups'])
    const two = resolve({endpoint: 'https://s3.example.org', style: 'host'})
    assert.deepEqual([two.host, two.port, two.authority, two.base], ['backups.s3.example.org', 443, 'backups.s3.example.org', ''])
    const six = resolve({endpoint: 'http://[::1]:9000'})
    assert.deepEqual([six.host, six.authority], ['::1', '[::1]:9000'])
  })

  it('come from the environment where they are not given', () => {
    const environment = {
      AWS_REGION: 'eu-west-3', AWS_ENDPOINT_URL: 'https://ignored.example.org', AWS_ENDPOINT_URL_S3: 'https://s3.example.org', AWS_ACCESS_KEY_ID: 'A', AWS_SECRET_ACCESS_KEY: 'B', AWS_SESSION_TOKEN: 'C',
    }
    const target = resolveTarget({bucket: 'backups'}, environment)
    assert.equal(target.region, 'eu-west-3')
    assert.equal(target.host, 's3.example.org')
    assert.deepEqual(target.credentials, {accessKeyId: 'A', secretAccessKey: 'B', sessionToken: 'C'})
    assert.equal(resolve({}, {AWS_DEFAULT_REGION: 'eu-west-3'}).region, 'eu-west-3')
    assert.throws(() => resolveTarget({bucket: 'backups'}, {}), {code: 'REPOSITORY_REFUSED', message: /there are no credentials/})
    assert.throws(() => resolve({}, {AWS_CA_BUNDLE: '/does/not/exist.pem'}), {code: 'REPOSITORY_REFUSED', message: /AWS_CA_BUNDLE/})
  })

  const refused: readonly (readonly [title: string, options: Partial<S3Options>, message: RegExp])[] = [
    ['a bucket with a slash', {bucket: 'a/b'}, /"a\/b" is not the name of a bucket/],
    ['an empty bucket', {bucket: ''}, /not the name of a bucket/],
    ['a bucket that cannot be a host', {bucket: 'My_Bucket', endpoint: 'https://s3.example.org', style: 'host'}, /not the name of a bucket/],
    ['a prefix that leads elsewhere', {prefix: 'a/../b'}, /cannot be the prefix/],
    ['an endpoint that is no URL', {endpoint: 's3.example.org'}, /not a URL/],
    ['an endpoint of another protocol', {endpoint: 'ftp://s3.example.org'}, /not the endpoint of an S3 server/],
    ['an endpoint with a query', {endpoint: 'https://s3.example.org/?a=b'}, /not the endpoint of an S3 server/],
    ['a password in the endpoint', {endpoint: 'https://me:a-very-secret-word@s3.example.org'}, /has a user name in it/],
    ['plain text to another machine', {endpoint: 'http://s3.example.org'}, /is not encrypted, and on another machine/],
    ['a region that is none', {region: 'eu west'}, /not the name of a region/],
  ]
  for (const [title, options, message] of refused) {
    it(`refuse ${title}`, () => assert.throws(() => resolve(options), (error: Error) => {
      assert.match(error.message, message)
      assert.equal((error as {code?: string}).code, 'INVALID_REQUEST')
      assert.doesNotMatch(inspect(error, {depth: 10}), /a-very-secret-word/)
      return true
    }))
  }

  it('allow plain text to this machine, and to others when asked', () => {
    for (const endpoint of ['http://127.0.0.1:9000', 'http://localhost:9000', 'http://[::1]:9000']) assert.equal(resolve({endpoint}).tls, false)
    assert.equal(resolve({endpoint: 'http://minio:9000', plainText: true}).tls, false)
  })

  it('refuse credentials that no header can carry, without saying them', () => {
    assert.throws(() => resolve({credentials: {accessKeyId: 'A', secretAccessKey: 'a-very-secret-word\n'}}), (error: Error) => {
      assert.doesNotMatch(inspect(error, {depth: 10}), /a-very-secret-word/)
      return (error as {code?: string}).code === 'REPOSITORY_REFUSED'
    })
  })

  it('are read from settings, each by its name', () => {
    const settings = {bucket: 'backups', prefix: 'a', endpoint: 'https://s3.example.org', region: 'r', style: 'host', ca: 'PEM', minTls: '1.2', plainText: false, ...credentials, sessionToken: 'T'}
    const {accessKeyId, secretAccessKey, sessionToken, ...others} = settings
    assert.deepEqual(optionsOf(settings), {...others, credentials: {accessKeyId, secretAccessKey, sessionToken}})
    assert.deepEqual(optionsOf({bucket: 'backups'}), {bucket: 'backups', plainText: false})
    assert.throws(() => optionsOf({}), {code: 'INVALID_REQUEST', message: /"bucket" .* is missing/})
    assert.throws(() => optionsOf({bucket: 'b', buket: 'x'}), {code: 'INVALID_REQUEST', suggestions: ['did you mean bucket?']})
    assert.throws(() => optionsOf({bucket: 'b', style: 'virtual'}), {code: 'INVALID_REQUEST', message: /none of path, host/})
    assert.throws(() => optionsOf({bucket: 'b', secretAccessKey: 'a-very-secret-word'}), (error: Error) => {
      assert.doesNotMatch(inspect(error), /a-very-secret-word/)
      return /"accessKeyId" .* is missing/.test(error.message)
    })
    assert.deepEqual(secretSettings('s3'), ['secretAccessKey', 'sessionToken'])
  })

  it('show no secret in the store that is opened with them', () => {
    const store = openConfiguredS3({bucket: 'backups', endpoint: 'https://s3.example.org', prefix: 'site', ...credentials})
    assert.equal(store.where, 'https://s3.example.org/backups/site')
    assert.doesNotMatch(inspect(store, {depth: 10, showHidden: true}) + JSON.stringify(store), /a-very-secret-word/)
  })
})
