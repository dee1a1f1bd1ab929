/** Which command a text of SQL ends with: the protocol tells the rows of a result, but not of what. */

/** Strings, quoted names, comments, words, and single characters of the rest. What `/*! … *` + `/` hides is run, so it is text. */
const token =
  /'(?:[^'\\]|\\.|'')*'?|"(?:[^"\\]|\\.|"")*"?|`(?:[^`]|``)*`?|--(?=[\s]|$)[^\n]*|#[^\n]*|\/\*(?![!M])[\s\S]*?(?:\*\/|$)|\/\*M?!\d*|[a-z_$][\w$]*|[^\s]/giu

const isWord = (piece: string): boolean => /^[a-z_$]/i.test(piece)
const isComment = (piece: string): boolean => /^(?:--|#|\/\*)/.test(piece) && piece.length > 1

/** The words of each statement, in capitals, without what is quoted; a stored program's body belongs to its statement. */
function statements(text: string): string[][] {
  const pieces = (text.match(token) ?? []).filter((piece) => !isComment(piece)).map((piece) => piece.toUpperCase())
  const all: string[][] = [[]]
  let depth = 0
  pieces.forEach((piece, at) => {
    const words = all.at(-1) as string[]
    if (piece === ';' && depth === 0) all.push([])
    else if (isWord(piece)) {
      // only a program has a body; `BEGIN` alone starts a transaction
      if (isProgram(words)) depth = Math.max(0, depth + deeper(piece, pieces[at - 1], pieces[at + 1]))
      words.push(piece)
    }
  })
  return all.filter((words) => words.length > 0)
}

const programs = new Set(['PROCEDURE', 'FUNCTION', 'TRIGGER', 'EVENT', 'PACKAGE'])
const isProgram = (words: readonly string[]): boolean =>
  ['CREATE', 'ALTER'].includes(words[0] ?? '') && words.slice(0, 8).some((word) => programs.has(word))

/** Of all that ends with END only blocks and cases are counted: IF, LOOP, REPEAT and WHILE say so when they end. */
const named = new Set(['IF', 'LOOP', 'REPEAT', 'WHILE'])
function deeper(word: string, before: string | undefined, after: string | undefined): number {
  if (word === 'BEGIN') return 1
  if (word === 'CASE') return before === 'END' ? 0 : 1
  return word === 'END' && !named.has(after ?? '') ? -1 : 0
}

const defines = new Set(['CREATE', 'ALTER', 'DROP', 'RENAME', 'TRUNCATE'])
const objects = [
  'TABLE', 'DATABASE', 'SCHEMA', 'VIEW', 'INDEX', 'USER', 'ROLE', 'PROCEDURE', 'FUNCTION', 'TRIGGER', 'EVENT', 'SEQUENCE',
  'PACKAGE', 'SERVER', 'TABLESPACE',
]

export interface LastCommand {
  /** `SELECT`, `INSERT`, `CREATE TABLE`, …; empty where the text has no statement. */
  readonly command: string
  /** How many statements come before it. */
  readonly before: number
}

/** The command of the last statement. */
export function lastCommand(text: string): LastCommand {
  const all = statements(text)
  // nothing begins with END: it ends a program whose body is no block
  const at = all.at(-1)?.[0] === 'END' ? all.findLastIndex(isProgram) : all.length - 1
  return {command: commandOf(all[at] ?? []), before: Math.max(0, at)}
}

function commandOf(words: readonly string[]): string {
  const first = words[0] ?? ''
  if (defines.has(first)) {
    const object = words.find((word) => objects.includes(word))
    return object === undefined ? first : `${first} ${object}`
  }
  if (first === 'WITH') return words.find((word) => ['UPDATE', 'DELETE', 'INSERT', 'REPLACE'].includes(word)) ?? 'SELECT'
  return ['TABLE', 'VALUES'].includes(first) ? 'SELECT' : first
}
