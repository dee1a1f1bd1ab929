/**
 * Generates docs/errors.md from the table of errors and docs/properties.md from the tags in the tests.
 *   npm run docs
 */
import {mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {errorTable} from '../src/core/errors.js'

const root = fileURLToPath(new URL('..', import.meta.url))

export function errorsPage(): string {
  const rows = Object.entries(errorTable).map(([code, e]) => `| \`${code}\` | ${e.status} | ${e.exit} | ${e.retry} | ${e.meaning} |`)
  return `# Errors

Generated from \`src/core/errors.ts\`. The API answers every failure with the same body, and the CLI prints the same on stdout
with \`--json\`:

\`\`\`json
{"error": {"code": "NAME_IN_USE", "message": "…", "details": {"name": "demo"}, "suggestions": ["dbaas status demo"]},
 "request_id": "req_…", "timestamp": "2026-11-23T17:22:00.000Z"}
\`\`\`

Codes are stable: scripts may compare them. \`transient\` and \`system\` errors inside an operation are retried with backoff; \`permanent\`
ones fail it at once.

| code | HTTP status | exit code | in an operation | when |
|---|---|---|---|---|
${rows.join('\n')}
`
}

interface Tag {
  readonly number: number
  readonly title: string
  readonly test: string
  readonly file: string
  readonly runs: string
}

const tagLine = /\/\/ Feature: enterprise-dbaas-platform, Property (\d+): (.+?)\s*$/
const notes = /\/\/ Iterations: (.+?)\s*$/

/** A tag stands before a test; a line "// Iterations: …" below it says what cannot be read off the code. */
export function tagsOf(file: string, text: string): Tag[] {
  const lines = text.split('\n')
  return lines.flatMap((line, i) => {
    const match = tagLine.exec(line)
    if (!match) return []
    const after = lines.slice(i + 1)
    const titleAt = after.findIndex((l) => /\b(it|describe)\(/.test(l))
    const title = /\b(?:it|describe)\((['"`])(.*?)\1/.exec(after[titleAt] ?? '')?.[2] ?? ''
    const note = after.slice(0, titleAt + 1).map((l) => notes.exec(l)?.[1]).find((n) => n !== undefined)
    const end = after.findIndex((l, n) => n > titleAt && tagLine.test(l))
    const body = after.slice(titleAt, end === -1 ? undefined : end).join('\n')
    const runs = note ?? /numRuns: realRuns\((\d+), (\d+)\)/.exec(body)?.slice(1).join(' in CI, ').concat(' in test:full, real') ?? /numRuns: (\d+)/.exec(body)?.[1]
    return [{number: Number(match[1]), title: match[2] as string, test: title, file, runs: runs ?? 'one'}]
  })
}

export function propertiesPage(): string {
  const files = readdirSync(join(root, 'test'), {recursive: true}).map(String).filter((f) => f.endsWith('.ts')).sort()
  const tags = files.flatMap((f) => tagsOf(`test/${f}`, readFileSync(join(root, 'test', f), 'utf8')))
    .sort((a, b) => a.number - b.number || a.file.localeCompare(b.file))
  const rows = tags.map((t) => `| ${t.number} | ${t.title} | ${t.test} | \`${t.file}\` | ${t.runs} |`)
  const proven = new Set(tags.map((t) => t.number))
  const open = Array.from({length: 44}, (_, i) => i + 1).filter((n) => !proven.has(n))
  return `# Properties

Generated from the tags in the tests. Real servers are PostgreSQL on the \`process\` runtime, unless a row says otherwise.

| # | property | test | file | iterations |
|---|---|---|---|---|
${rows.join('\n')}

Not yet tagged: ${open.join(', ')}.
`
}

const pages = {'docs/errors.md': errorsPage, 'docs/properties.md': propertiesPage}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(join(root, 'docs'), {recursive: true})
  for (const [path, make] of Object.entries(pages)) writeFileSync(join(root, path), make())
}
