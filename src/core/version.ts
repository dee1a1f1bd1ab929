/** Versions as people ask for them. */

/** `18` fits `18.4`, not `180`. */
export const fitsVersion = (asked: string, version: string): boolean => version === asked || version.startsWith(`${asked}.`)
