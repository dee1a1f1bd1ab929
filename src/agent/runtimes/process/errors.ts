/** Errors of the system, as ours: the only place where an errno of this runtime becomes a code people see. */
import {DbaasError} from '../../../core/errors.js'

const denied = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG'])
const exhausted = new Set(['EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM'])

export const errnoOf = (error: unknown): string => String((error as {code?: unknown} | null)?.code ?? '')

/**
 * `doing` completes "cannot …": `make the place of demo-1`. What is no error of the system passes as it is: the reason
 * of an aborted signal, and what a caller's own function threw.
 */
export function translateSystem(error: unknown, doing: string): unknown {
  if (error instanceof DbaasError || typeof (error as {errno?: unknown} | null)?.errno !== 'number') return error
  const code = errnoOf(error)
  // of a copy, what cannot be written is the destination
  const {dest, path: source} = error as {dest?: unknown; path?: unknown}
  const path = dest ?? source
  const details = {errno: code, ...(typeof path === 'string' ? {path} : {})}
  const where = typeof path === 'string' ? `: ${path}` : ''
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new DbaasError('DISK_FULL', `cannot ${doing}: the disk is full${where}`, {
      cause: error, details, suggestions: ['free some space, then run the command again', 'dbaas doctor'],
    })
  }
  if (denied.has(code)) {
    return new DbaasError('HOME_UNUSABLE', `cannot ${doing}: ${code}${where}`, {
      cause: error, details, suggestions: ['check the owner and the permissions of the path', 'dbaas doctor'],
    })
  }
  if (exhausted.has(code)) {
    return new DbaasError('RUNTIME_UNAVAILABLE', `cannot ${doing}: the system has no more processes, files or memory (${code})`, {
      cause: error, details, suggestions: ['dbaas doctor'],
    })
  }
  if (code === 'ENOENT') {
    return new DbaasError('RUNTIME_UNAVAILABLE', `cannot ${doing}: it does not exist${where}`, {
      cause: error, details, suggestions: ['dbaas doctor'],
    })
  }
  return DbaasError.from(error)
}

/** Runs `work`; what it throws leaves translated. */
export async function atEdge<T>(doing: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw translateSystem(error, doing)
  }
}
