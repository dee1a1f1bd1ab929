/** The engine's own client, run so that its password is in no argument list and stays on no disk. */
import {execFile} from 'node:child_process'
import {closeSync, openSync, rmSync, writeSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {promisify} from 'node:util'
import type {Access, EnginePrompt, Route} from '../../engines/prompt.js'
import {passThrough} from './pass-through.js'
import {findProgram} from './programs.js'

/** The first of the engine's clients on PATH. */
export async function findClient({client}: EnginePrompt): Promise<string | undefined> {
  for (const name of client.programs) {
    const found = await findProgram(name)
    if (found !== undefined) return found
  }
  return undefined
}

/** Returns its exit code. */
export async function runClient(program: string, prompt: EnginePrompt, access: Access, route: Route, args: readonly string[]): Promise<number> {
  const version = async (): Promise<string> => (await promisify(execFile)(program, ['--version'])).stdout
  const {secret, args: own, env} = await prompt.client.start(access, route, {path: program, version})
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !prompt.misleading.includes(name)))
  const file = secret === undefined ? undefined : unlinkedFile(secret)
  try {
    return await passThrough(program, [...own(secretPath), ...args], {env: {...inherited, ...env}, ...(file === undefined ? {} : {file})})
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

/** How the program sees the file that it inherits as its fourth. */
const secretPath = '/dev/fd/3'

/** A descriptor to read from. Its name is gone before anything is in it: no crash can leave the password behind. */
function unlinkedFile(text: string): number {
  const path = join(tmpdir(), `dbaas-${process.pid}-${crypto.randomUUID()}`)
  const writer = openSync(path, 'wx', 0o600)
  try {
    const reader = openSync(path, 'r')
    rmSync(path)
    writeSync(writer, text)
    return reader
  } finally {
    closeSync(writer)
  }
}
