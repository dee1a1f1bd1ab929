import {access, constants, stat} from 'node:fs/promises'
import {delimiter, join} from 'node:path'
import {DbaasError} from '../../../core/errors.js'

/**
 * The file that a shell would run for that word. Throws PROGRAM_NOT_FOUND (exit 127) and PROGRAM_NOT_EXECUTABLE (126),
 * before anything is made for it.
 */
export async function resolveProgram(word: string, path = process.env.PATH ?? ''): Promise<string> {
  // an empty part of PATH is the present folder
  const candidates = word.includes('/') ? [word] : path.split(delimiter).map((folder) => join(folder === '' ? '.' : folder, word))
  let because: string | undefined
  for (const candidate of word === '' ? [] : candidates) {
    const found = await stat(candidate).catch(() => undefined)
    if (found === undefined) continue
    if (found.isDirectory()) because ??= `${candidate} is a folder`
    else if (await access(candidate, constants.X_OK).then(() => true, () => false)) return candidate
    else because ??= `${candidate} may not be executed`
  }
  if (because !== undefined && (word.includes('/') || !because.endsWith('folder'))) {
    throw new DbaasError('PROGRAM_NOT_EXECUTABLE', `cannot run ${word}: ${because}`, {details: {program: word}, suggestions: [`ls -l '${word}'`]})
  }
  throw new DbaasError('PROGRAM_NOT_FOUND', `there is no program "${word}"${word.includes('/') ? '' : ' on PATH'}`, {
    details: {program: word},
    suggestions: /\s/.test(word) ? [`dbaas run -- ${word}`, `dbaas run -- sh -c '${word}'`] : ['check its name, or give its path'],
  })
}
