import {BlockList, isIP} from 'node:net'
import {DbaasError} from '../../../core/errors.js'

/** Whether a remote address may connect. */
export type AllowList = (address: string) => boolean

const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/**
 * CIDRs (or bare addresses) of both families -> a predicate; none means everybody. An IPv4 client that arrives on an
 * IPv6 listener (`::ffff:10.0.0.1`) is judged by its IPv4 address. Throws INVALID_REQUEST for what is not a CIDR.
 */
export function allowList(cidrs: readonly string[]): AllowList {
  if (cidrs.length === 0) return () => true
  const list = new BlockList()
  for (const cidr of cidrs) {
    const [network = '', prefix, ...rest] = cidr.split('/')
    const version = isIP(network)
    const widest = version === 4 ? 32 : 128
    const bits = prefix === undefined ? widest : /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN
    if (version === 0 || network.includes('%') || rest.length > 0 || !(bits >= 0 && bits <= widest)) {
      throw new DbaasError('INVALID_REQUEST', `"${cidr}" is not an address range`, {
        details: {value: cidr},
        suggestions: ['write a CIDR: 10.0.0.0/8, 192.168.1.7/32, fd00::/8'],
      })
    }
    list.addSubnet(network, bits, version === 4 ? 'ipv4' : 'ipv6')
  }
  return (address) => {
    const plain = mapped.exec(address)?.[1] ?? address
    // A link-local client carries its interface (`fe80::1%eth0`), which is no part of the address.
    const bare = plain.split('%')[0] as string
    const version = isIP(bare)
    return version !== 0 && list.check(bare, version === 4 ? 'ipv4' : 'ipv6')
  }
}
