import assert from 'node:assert/strict'
import fc from 'fast-check'
import {allowList} from '../../../../src/agent/endpoints/process/allow-list.js'

const hex = (groups: number[]) => groups.map((group) => group.toString(16)).join(':')
const value = (parts: number[], bits: number) => parts.reduce((sum, part) => (sum << BigInt(bits)) | BigInt(part), 0n)

/** By arithmetic, where the product asks Node's BlockList: two ways to the same answer. */
const inside = (address: bigint, network: bigint, prefix: number, width: number) =>
  address >> BigInt(width - prefix) === network >> BigInt(width - prefix)

const octets = fc.array(fc.integer({min: 0, max: 255}), {minLength: 4, maxLength: 4})
const groups = fc.array(fc.integer({min: 0, max: 0xffff}), {minLength: 8, maxLength: 8})
/** An address that shares a random number of leading parts with the network, so that both answers are common. */
const near = (parts: fc.Arbitrary<number[]>) => fc.tuple(parts, parts, fc.nat()).map(([network, other, at]) => {
  const shared = at % (network.length + 1)
  return {network, address: [...network.slice(0, shared), ...other.slice(shared)]}
})

describe('the allow list of a route', () => {
  it('agrees with arithmetic on IPv4 addresses, plain and mapped into IPv6', () => {
    fc.assert(fc.property(near(octets), fc.integer({min: 0, max: 32}), ({network, address}, prefix) => {
      const allows = allowList([`${network.join('.')}/${prefix}`])
      const expected = inside(value(address, 8), value(network, 8), prefix, 32)
      assert.equal(allows(address.join('.')), expected)
      assert.equal(allows(`::ffff:${address.join('.')}`), expected)
    }), {numRuns: 500})
  })

  it('agrees with arithmetic on IPv6 addresses', () => {
    fc.assert(fc.property(near(groups), fc.integer({min: 0, max: 128}), ({network, address}, prefix) => {
      fc.pre(!hex(address).startsWith('0:0:0:0:0:ffff:'))
      assert.equal(allowList([`${hex(network)}/${prefix}`])(hex(address)), inside(value(address, 16), value(network, 16), prefix, 128))
    }), {numRuns: 500})
  })

  it('allows everybody when empty, one host when there is no prefix, and nobody whose address is unknown', () => {
    assert.equal(allowList([])('203.0.113.7'), true)
    assert.equal(allowList(['10.1.2.3'])('10.1.2.3'), true)
    assert.equal(allowList(['10.1.2.3'])('10.1.2.4'), false)
    assert.equal(allowList(['fe80::/10'])('fe80::1%eth0'), true)
    assert.equal(allowList(['0.0.0.0/0'])('::1'), false)
    assert.equal(allowList(['0.0.0.0/0'])(''), false)
  })

  it('names what is not an address range', () => {
    for (const cidr of ['', 'x', '10.0.0.0/33', '10.0.0/8', '::/129', '10.0.0.0/8/8', '10.0.0.0/', '10.0.0.0/-1', 'fe80::1%eth0/64']) {
      assert.throws(() => allowList([cidr]), {code: 'INVALID_REQUEST'}, cidr)
    }
  })
})
