/** Sets of pages of an extent: bit `p % 8`, the lowest first, of byte `p >> 3`. */

export const has = (bits: Uint8Array, page: number): boolean => ((bits[page >> 3] as number) & (1 << (page & 7))) !== 0

export const add = (bits: Uint8Array, page: number): void => {
  bits[page >> 3] = (bits[page >> 3] as number) | (1 << (page & 7))
}

const ones = Uint8Array.from({length: 256}, (_, byte) => byte.toString(2).replaceAll('0', '').length)

/** How many are in the bytes from `from` to `to`. */
export function count(bits: Uint8Array, from = 0, to = bits.length): number {
  let sum = 0
  for (let i = from; i < to; i++) sum += ones[bits[i] as number] as number
  return sum
}

/** Into `bits`, those of `others`. */
export const unite = (bits: Uint8Array, others: Uint8Array): void => {
  for (let i = 0; i < bits.length; i++) bits[i] = (bits[i] as number) | (others[i] as number)
}
