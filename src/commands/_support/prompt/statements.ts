/** Where statements end. Pure. */

/** `quoted`: the next line is part of a quoted text or a comment, whatever it looks like. */
export type TextState = 'complete' | 'pending' | 'quoted'

/**
 * Complete is a text that ends with a `;` which is not inside a quoted text, a quoted name, a dollar-quoted body or a
 * comment (PostgreSQL manual 4.1: block comments nest, `E''` texts know backslashes), so that it can be sent.
 */
export function stateOf(text: string): TextState {
  let ended = false
  for (let at = 0; at < text.length;) {
    const next = skipQuoted(text, at)
    if (next === undefined) return 'quoted'
    if (next > at) {
      // A comment after the last `;` changes nothing; anything else begins a new statement.
      if (!isComment(text, at)) ended = false
      at = next
      continue
    }
    const character = text[at] as string
    if (character === ';') ended = true
    else if (!/\s/.test(character)) ended = false
    at++
  }
  return ended ? 'complete' : 'pending'
}

const isComment = (text: string, at: number): boolean => text.startsWith('--', at) || text.startsWith('/*', at)

/** The position after the quoted thing or comment that begins at `at`; `at` when none does; undefined when it has no end. */
function skipQuoted(text: string, at: number): number | undefined {
  const character = text[at] as string
  if (character === '\'') return closing(text, at + 1, '\'', /[eE]/.test(text[at - 1] ?? '') && !/\w/.test(text[at - 2] ?? ' '))
  if (character === '"') return closing(text, at + 1, '"', false)
  if (text.startsWith('--', at)) {
    const end = text.indexOf('\n', at)
    return end === -1 ? text.length : end + 1
  }
  if (text.startsWith('/*', at)) return closingComment(text, at + 2)
  const tag = character === '$' && !/[\w$]/.test(text[at - 1] ?? ' ') ? /^\$(?:[A-Za-z_\u0080-\uFFFF][\w\u0080-\uFFFF]*)?\$/.exec(text.slice(at))?.[0] : undefined
  if (tag === undefined) return at
  const end = text.indexOf(tag, at + tag.length)
  return end === -1 ? undefined : end + tag.length
}

/** After the closing quote; a doubled one is the quote itself, and so is an escaped one where backslashes count. */
function closing(text: string, from: number, quote: string, backslashes: boolean): number | undefined {
  for (let at = from; at < text.length; at++) {
    if (backslashes && text[at] === '\\') at++
    else if (text[at] === quote) {
      if (text[at + 1] !== quote) return at + 1
      at++
    }
  }
  return undefined
}

function closingComment(text: string, from: number): number | undefined {
  let depth = 1
  for (let at = from; at < text.length; at++) {
    if (text.startsWith('/*', at)) {
      depth++
      at++
    } else if (text.startsWith('*/', at)) {
      depth--
      at++
      if (depth === 0) return at + 1
    }
  }
  return undefined
}

/** A text that opens a transaction and does not end it: over the API each text is a session of its own. */
export const leavesTransactionOpen = (text: string): boolean =>
  /^\s*(?:begin|start\s+transaction)\b/i.test(text) && !/\b(?:commit|rollback|end)\s*(?:work|transaction)?\s*;\s*$/i.test(text)
