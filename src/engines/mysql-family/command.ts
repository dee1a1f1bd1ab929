/** Which command a text of SQL ends with: the protocol tells the rows of a result, but not of what. */

/** Strings, quoted names, comments, words, and single characters of the rest. What `/*! … *` + `/` hides is run, so it is text. */
const token =
  /'(?:[^'\\]|\\.|'')*'?|"(?:[^"\\]|\\.|"")*"?|`(?:[^`]|``)*`?|--(?=[\s]|$)[^\n]*|#[^\n]*|\/\*(?![!M])[\s\S]*?(?:\*\/|$)|\/\*M?!\d*|[a-z_$][\w$]*|[^\s]/giu

const isWord = (piece: string): boolean => /^[a-z_$]/i.test(piece)
const isComment = (piece: string): boolean => /^(?:--|#|\/\*)/.test(piece) && piece.length > 1

/** The words of each statement, in capitals, without what is quoted; a stored program's body belongs to its statement. */
function statements(text: string): string[][] {
  const all: string[][] = [[]]
  let depth = 0
  for (const piece of (text.match(token) ?? []).filter((candidate) => !isComment(candidate))) {
    const words = all.at(-1) as string[]
    if (piece === ';' && depth === 0) all.push([])
    else if (isWord(piece)) {
      const word = piece.toUpperCase()
      const before = words.at(-1)
      // only a program has a body; `BEGIN` alone starts a transaction
      if (isProgram(words) && opens(word, before)) depth += 1
      else if (depth > 0 && word === 'END') depth -= 1
      words.push(word)
    }
  }
  return all.filter((words) => words.length > 0)
}

const programs = new Set(['PROCEDURE', 'FUNCTION', 'TRIGGER', 'EVENT', 'PACKAGE'])
const isProgram = (words: readonly string[]): boolean =>
  ['CREATE', 'ALTER'].includes(words[0] ?? '') && words.slice(0, 8).some((word) => programs.has(word))

/** Of what ends with END, the two that may end with nothing else; `END IF`, `END LOOP` and so on have their opener, too. */
const openers = new Set(['BEGIN', 'CASE', 'IF', 'LOOP', 'REPEAT', 'WHILE'])
const opens = (word: string, before: string | undefined): boolean => openers.has(word) && before !== 'END'

const defines = new Set(['CREATE', 'ALTER', 'DROP', 'RENAME', 'TRUNCATE'])
const objects = [
  'TABLE', 'DATABASE', 'SCHEMA', 'VIEW', 'INDEX', 'USER', 'ROLE', 'PROCEDURE', 'FUNCTION', 'TRIGGER', 'EVENT', 'SEQUENCE',
  'PACKAGE', 'SERVER', 'TABLESPACE',
]

/** `SELECT`, `INSERT`, `CREATE TABLE`, … of the last statement; empty where there is none. */
export function commandOf(text: string): string {
  const words = statements(text).at(-1)
  const first = words?.[0]
  if (words === undefined || first === undefined) return ''
  if (defines.has(first)) {
    const object = words.find((word) => objects.includes(word))
    return object === undefined ? first : `${first} ${object}`
  }
  if (first === 'WITH') return words.find((word) => ['UPDATE', 'DELETE', 'INSERT', 'REPLACE'].includes(word)) ?? 'SELECT'
  return ['TABLE', 'VALUES'].includes(first) ? 'SELECT' : first
}
