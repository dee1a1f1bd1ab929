import {DbaasError} from '../../../core/errors.js'

export const notMounted = (root: string): DbaasError => new DbaasError('REPOSITORY_UNAVAILABLE', `the repository ${root} is not there: the folder is another one`, {
  details: {repository: root}, suggestions: ['mount the disk that it is on'],
})

/** What the file system says, in our words. `root` is the repository. */
export function fileSystemError(error: unknown, root: string): DbaasError {
  if (error instanceof DbaasError) return error
  const {code} = error as NodeJS.ErrnoException
  const details = {repository: root}
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new DbaasError('DISK_FULL', `the disk of the repository ${root} is full`, {
      cause: error, details, suggestions: ['free some space there', 'keep backups for a shorter time'],
    })
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new DbaasError('REPOSITORY_REFUSED', `the repository ${root} cannot be written: ${code}`, {
      cause: error, details, suggestions: [`ls -ld ${root}`],
    })
  }
  const absent = code === 'ENOENT' || code === 'ENOTDIR'
  const known = absent || ['EIO', 'ESTALE', 'ENOTCONN', 'ETIMEDOUT', 'EHOSTDOWN', 'EBUSY', 'EMFILE', 'ENFILE'].includes(code ?? '')
  if (known) {
    return new DbaasError('REPOSITORY_UNAVAILABLE', absent ? `the repository ${root} is not there` : `the repository ${root} does not work: ${code}`, {
      cause: error, details, suggestions: absent ? ['mount the disk that it is on'] : [],
    })
  }
  return DbaasError.from(error)
}
