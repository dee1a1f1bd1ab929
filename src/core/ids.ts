/**
 * Identifiers: a prefix that names the kind, then 26 characters of Crockford base 32 (48 bits of time, 80 random
 * bits: the ULID layout, in lower case), so ids of one kind sort by the moment they were made.
 */
export const idPrefixes = {
  site: 'site', instance: 'ins', node: 'nod', operation: 'op', request: 'req', audit: 'aud', event: 'evt', backup: 'bak',
} as const
export type IdKind = keyof typeof idPrefixes

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

/** `now` is milliseconds since the epoch, `random` at least 16 bytes (one is used per character). */
export function makeId(kind: IdKind, now: number, random: Uint8Array): string {
  let time = ''
  for (let left = now, i = 0; i < 10; i++) {
    time = alphabet[left % 32] + time
    left = Math.floor(left / 32)
  }
  let tail = ''
  for (let i = 0; i < 16; i++) tail += alphabet[(random[i] ?? 0) & 31]
  return `${idPrefixes[kind]}_${time}${tail}`
}

export const isId = (kind: IdKind, text: string): boolean =>
  new RegExp(`^${idPrefixes[kind]}_[0-9a-hjkmnp-tv-z]{26}$`).test(text)
