/** The examples of "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)", S3 API reference. */
import assert from 'node:assert/strict'
import {encode, signed, type Unsigned} from '../../../../src/agent/repositories/s3/sign.js'

const credentials = {accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'}
const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
const host = 'examplebucket.s3.amazonaws.com'

const examples: readonly {readonly title: string; readonly request: Unsigned; readonly signature: string; readonly names: string}[] = [
  {
    title: 'GET of a part of an object',
    request: {method: 'GET', path: '/test.txt', query: {}, headers: {host, range: 'bytes=0-9'}, sha256: empty},
    names: 'host;range;x-amz-content-sha256;x-amz-date', signature: 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
  },
  {
    title: 'PUT of an object',
    request: {
      method: 'PUT', path: `/${encode('test$file.text')}`, query: {}, headers: {host, date: 'Fri, 24 May 2013 00:00:00 GMT', 'x-amz-storage-class': 'REDUCED_REDUNDANCY'},
      sha256: '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
    },
    names: 'date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class', signature: '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
  },
  {
    title: 'GET of the lifecycle of a bucket',
    request: {method: 'GET', path: '/', query: {lifecycle: ''}, headers: {host}, sha256: empty},
    names: 'host;x-amz-content-sha256;x-amz-date', signature: 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543',
  },
  {
    title: 'list of a bucket',
    request: {method: 'GET', path: '/', query: {prefix: 'J', 'max-keys': '2'}, headers: {host}, sha256: empty},
    names: 'host;x-amz-content-sha256;x-amz-date', signature: '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
  },
]

describe('signatures for S3', () => {
  for (const {title, request, signature, names} of examples) {
    it(`are those of Amazon's example: ${title}`, () => {
      const headers = signed(request, credentials, 'us-east-1', Date.UTC(2013, 4, 24))
      assert.equal(headers['authorization'], `AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=${names},Signature=${signature}`)
    })
  }

  it('cover the token of a session', () => {
    const headers = signed((examples[0] as {request: Unsigned}).request, {...credentials, sessionToken: 'token'}, 'us-east-1', Date.UTC(2013, 4, 24))
    assert.equal(headers['x-amz-security-token'], 'token')
    assert.match(headers['authorization'] ?? '', /;x-amz-security-token,/)
  })
})
