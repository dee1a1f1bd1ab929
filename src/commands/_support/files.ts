import {readFile} from 'node:fs/promises'
import {DbaasError} from '../../core/errors.js'

/** A file named on the command line, or stdin for `-`. Throws FILE_NOT_FOUND. */
export async function readInput(path: string): Promise<string> {
  if (path === '-') return readStdin()
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    const reasons: Record<string, string> = {ENOENT: 'there is no such file', EISDIR: 'it is a folder', EACCES: 'it may not be read'}
    const code = (cause as NodeJS.ErrnoException).code ?? ''
    throw new DbaasError('FILE_NOT_FOUND', `cannot read ${path}: ${reasons[code] ?? code}`, {
      cause, details: {file: path}, suggestions: [`ls -l '${path}'`],
    })
  }
}

export async function readStdin(): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}
