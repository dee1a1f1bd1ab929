/** Who may import whom (DESIGN.md section 2, DECISIONS.md "Imports"), as a table and a function over source texts. */
import {dirname, join} from 'node:path/posix'
import ts from 'typescript'

export interface Import {
  readonly specifier: string
  /** Erased by the compiler: it couples words, not code. */
  readonly typeOnly: boolean
}

/** Every import of a source text: static, re-exported, dynamic, required, bare, and `import('…')` in types. */
export function importsOf(text: string): Import[] {
  const found: Import[] = []
  const add = (node: ts.Node | undefined, typeOnly: boolean) => {
    if (node && ts.isStringLiteralLike(node)) found.push({specifier: node.text, typeOnly})
    // What cannot be read cannot be judged, so it is a breach by itself.
    else if (node) found.push({specifier: `(computed) ${node.getText()}`, typeOnly})
  }
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) {
      const named = node.importClause?.namedBindings
      const allTypes = named !== undefined && ts.isNamedImports(named) && node.importClause?.name === undefined
        && named.elements.length > 0 && named.elements.every((element) => element.isTypeOnly)
      add(node.moduleSpecifier, node.importClause?.isTypeOnly === true || allTypes)
    } else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly)
    else if (ts.isImportTypeNode(node)) add(ts.isLiteralTypeNode(node.argument) ? node.argument.literal : node.argument, true)
    else if (ts.isCallExpression(node)) {
      const {expression} = node
      const isRequire = ts.isIdentifier(expression) && expression.text === 'require'
      if (expression.kind === ts.SyntaxKind.ImportKeyword || isRequire) add(node.arguments[0], false)
    }
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile('file.ts', text, ts.ScriptTarget.Latest, true))
  return found
}

interface Rule {
  /** Paths below src that the rule is about; the first rule that matches holds. */
  readonly from: RegExp
  /** What they may import beside themselves, as paths below src, `node:…` or `npm:…`. `$1` is the first group of `from`. */
  readonly may: readonly string[]
  /** What they may import as types alone. */
  readonly types?: readonly string[]
}

const interfaces = ['engines/(backup|engine|host|replication|upgrade)\\.ts', 'agent/runtimes/runtime\\.ts', 'agent/endpoints/endpoint\\.ts', 'agent/archiver/archiver\\.ts', 'agent/store/store\\.ts']

export const importLaw: readonly Rule[] = [
  // Plain data in, plain data out: no I/O, no timers, no driver. The wire contract is written in typebox.
  {from: /^core\/api\//, may: ['core/', 'npm:typebox']},
  {from: /^core\//, may: ['core/']},
  {from: /^engines\/index\.ts$/, may: ['engines/', 'core/']},
  {from: /^engines\/(backup|engine|host|names|prompt|replication|upgrade)\.ts$/, may: ['core/', 'engines/(backup|engine|host|names|prompt|replication|upgrade)\\.ts']},
  // Files for a server, written by whoever has them: an engine that copies, the archiver that restores.
  {from: /^engines\/data-folder\.ts$/, may: ['node:']},
  // What a command line needs of the engines: a registry of its own, for engines/index would bring all of every engine along.
  {from: /^engines\/prompts\.ts$/, may: ['core/', 'engines/(names|prompt)\\.ts', 'engines/[^/]+/prompt\\.ts']},
  // It runs on the user's machine, and may bring nothing of the engine itself along. (Its own small parts excepted.)
  {from: /^engines\/([^/]+)\/(?:prompt|java-key-store)\.ts$/, may: ['engines/prompt\\.ts', 'engines/mysql-family/prompt\\.ts', 'engines/$1/java-key-store\\.ts', 'core/', 'node:']},
  {from: /^engines\/([^/]+)\//, may: ['engines/$1/', 'engines/(backup|data-folder|engine|host|replication|upgrade)\\.ts', 'engines/mysql-family/', 'core/', 'node:', 'npm:']},
  // The endpoint process is one file that needs nothing but Node (DECISIONS.md 6).
  {from: /^agent\/endpoints\//, may: ['agent/endpoints/', 'core/', 'node:']},
  {from: /^agent\/runtimes\/(?:guarded|index|names|options|runtime)\.ts$/, may: ['agent/runtimes/', 'core/', 'npm:cockatiel'], types: ['engines/(engine|host)\\.ts']},
  {
    from: /^agent\/runtimes\/([^/]+)\//,
    may: ['agent/runtimes/$1/', 'agent/runtimes/[^/]+\\.ts', 'engines/host\\.ts', 'core/', 'node:', 'npm:'], types: ['engines/engine\\.ts'],
  },
  // Repository kinds, and the vault over them, which sees a store by its promise alone.
  {from: /^agent\/repositories\/(?:index|names|repository|settings)\.ts$/, may: ['agent/repositories/', 'core/']},
  {from: /^agent\/repositories\/([^/]+)\//, may: ['agent/repositories/$1/', 'agent/repositories/(?:repository|settings)\\.ts', 'core/', 'node:', 'npm:']},
  // Where engines and repositories meet, far from the agent's main thread.
  {from: /^agent\/archiver\/archiver\.ts$/, may: ['core/'], types: ['engines/backup\\.ts']},
  {from: /^agent\/archiver\//, may: ['agent/archiver/', 'agent/repositories/', 'engines/(data-folder|index)\\.ts', 'core/', 'node:'], types: ['engines/(backup|engine)\\.ts']},
  {from: /^agent\/store\//, may: ['agent/store/', 'core/', 'node:', 'npm:']},
  {from: /^agent\/workflow\//, may: ['agent/workflow/', 'agent/store/store\\.ts', 'core/', 'node:']},
  {from: /^agent\/certificates\//, may: ['agent/certificates/', 'core/', 'node:', 'npm:'], types: ['agent/store/store\\.ts']},
  // What the services share lies beside them; a service never sees another.
  {from: /^agent\/services\/[^/]+\.ts$/, may: ['agent/services/[^/]+\\.ts', 'agent/workflow/', 'core/', 'node:'], types: interfaces},
  {
    from: /^agent\/services\/([^/]+)\//,
    may: ['agent/services/$1/', 'agent/services/[^/]+\\.ts', 'agent/workflow/', 'core/', 'node:'], types: interfaces,
  },
  {from: /^agent\/http\//, may: ['agent/http/', 'core/', 'node:', 'npm:'], types: ['agent/services/contract\\.ts']},
  {from: /^agent\/client\//, may: ['agent/client/', 'core/', 'node:', 'npm:undici']},
  // The only place where concrete things meet.
  {from: /^agent\/(app|main|config)\.ts$/, may: ['']},
  {
    from: /^commands\//,
    may: ['commands/_support/', 'agent/client/', 'agent/runtimes/names\\.ts', 'engines/(names|prompt|prompts)\\.ts', 'core/(?!api/schemas)', 'node:', 'npm:'],
    types: ['core/api/schemas\\.ts'],
  },
]

/** Why the file (a path below src) may not import what it imports: one sentence a breach. */
export function breaches(file: string, text: string): string[] {
  const rule = importLaw.find(({from}) => from.test(file))
  if (!rule) return [`${file} belongs to no layer of the import law`]
  const group = rule.from.exec(file)?.[1] ?? ''
  const matches = (patterns: readonly string[], target: string) =>
    patterns.some((pattern) => new RegExp(`^${pattern.replaceAll('$1', group)}`).test(target))
  return importsOf(text).flatMap(({specifier, typeOnly}) => {
    const target = targetOf(file, specifier)
    if (matches(rule.may, target) || (typeOnly && matches(rule.types ?? [], target))) return []
    return [`${file} imports ${target}${!typeOnly && matches(rule.types ?? [], target) ? ', and not as a type' : ''}`]
  })
}

function targetOf(file: string, specifier: string): string {
  if (specifier.startsWith('.')) return join(dirname(file), specifier).replace(/\.js$/, '.ts')
  return specifier.startsWith('node:') || specifier.startsWith('(computed)') ? specifier : `npm:${specifier}`
}
