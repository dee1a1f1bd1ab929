/** Where statements end, in the words of an engine. Pure. */
import type {Lexis} from '../../../engines/prompt.js'

/** `quoted`: the next line is part of a quoted text or a comment, whatever it looks like. */
export type TextState = 'complete' | 'pending' | 'quoted'

/**
 * Complete is a text that ends with the delimiter outside of a quoted text, a quoted name, a dollar-quoted body or a
 * comment, so that it can be sent.
 */
export function stateOf(text: string, lexis: Lexis, delimiter = ';'): TextState {
  let ended = false
  for (let at = 0; at < text.length;) {
    const next = skipQuoted(text, at, lexis)
    if (next === undefined) return 'quoted'
    if (next > at) {
      // A comment after the last delimiter changes nothing; anything else begins a new statement.
      if (!isComment(text, at, lexis)) ended = false
      at = next
    } else if (text.startsWith(delimiter, at)) {
      ended = true
      at += delimiter.length
    } else if (lexis.backslashG && /^\\[gG](?=\s|$)/.test(text.slice(at, at + 3))) {
      ended = true
      at += 2
    } else {
      if (!/\s/.test(text[at] as string)) ended = false
      at++
    }
  }
  return ended ? 'complete' : 'pending'
}

const isDashes = (text: string, at: number, {dashesNeedSpace}: Lexis): boolean =>
  text.startsWith('--', at) && (!dashesNeedSpace || /^(?:\s|$)/.test(text.slice(at + 2, at + 3)))

const isComment = (text: string, at: number, lexis: Lexis): boolean =>
  text.startsWith('/*', at) || isDashes(text, at, lexis) || (lexis.hashComments && text[at] === '#')

/** The position after the quoted thing or comment that begins at `at`; `at` when none does; undefined when it has no end. */
function skipQuoted(text: string, at: number, lexis: Lexis): number | undefined {
  const character = text[at] as string
  if (lexis.quotes.includes(character)) {
    const prefixed = lexis.escapePrefix && character === "'" && /[eE]/.test(text[at - 1] ?? '') && !/\w/.test(text[at - 2] ?? ' ')
    return closing(text, at + 1, character, prefixed || lexis.escapes.includes(character))
  }
  if (text.startsWith('/*', at)) return closingComment(text, at + 2, lexis.nestedComments)
  if (isComment(text, at, lexis)) {
    const end = text.indexOf('\n', at)
    return end === -1 ? text.length : end + 1
  }
  if (!lexis.dollarQuotes || character !== '$' || /[\w$]/.test(text[at - 1] ?? ' ')) return at
  const tag = /^\$(?:[A-Za-z_\u0080-\uFFFF][\w\u0080-\uFFFF]*)?\$/.exec(text.slice(at))?.[0]
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

function closingComment(text: string, from: number, nested: boolean): number | undefined {
  let depth = 1
  for (let at = from; at < text.length; at++) {
    if (nested && text.startsWith('/*', at)) {
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

/** The statement without what ended it where the server does not know that: another delimiter, or `\G`. */
export function withoutEnd(text: string, lexis: Lexis, delimiter: string): {statement: string; vertical: boolean} {
  const end = lexis.backslashG ? /\\([gG])\s*$/.exec(text) : null
  if (end) return {statement: text.slice(0, end.index), vertical: end[1] === 'G'}
  if (delimiter === ';' || !text.trimEnd().endsWith(delimiter)) return {statement: text, vertical: false}
  return {statement: text.trimEnd().slice(0, -delimiter.length), vertical: false}
}
