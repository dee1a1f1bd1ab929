/** What `--from` names: a file on the web, an archive on this machine, or a folder with the programs in it. */
import {access, constants, realpath, stat} from 'node:fs/promises'
import {basename, isAbsolute} from 'node:path'
import {DbaasError} from '../../../../core/errors.js'
import {errnoOf} from '../errors.js'

export type Source =
  | {readonly kind: 'url'; readonly url: URL; readonly shown: string}
  | {readonly kind: 'file'; readonly path: string; readonly shown: string}
  | {readonly kind: 'folder'; readonly path: string; readonly shown: string}

const loopback = (host: string): boolean => host === 'localhost' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host)

export const isLoopback = (url: URL): boolean => loopback(url.hostname)

/** Without its query, which may hold a signature that opens it: for messages and labels. */
export const shownUrl = (url: URL): string => `${url.origin}${url.pathname}`

/** Https; plain http to this machine alone. Undefined where it is right, else why not. */
export function whyNotFetch(url: URL): string | undefined {
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return `${url.protocol} is not spoken here, only https`
  if (url.protocol === 'http:' && !isLoopback(url)) return `http://${url.host} is not encrypted, and who is on the way could send something else`
  return undefined
}

/** Looks at the disk for what is no URL. Throws INVALID_REQUEST, FILE_NOT_FOUND. */
export async function readSource(from: string): Promise<Source> {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(from)) {
    const url = URL.canParse(from) ? new URL(from) : undefined
    const because = url ? whyNotFetch(url) : 'it is not a URL'
    if (url && because === undefined && url.username === '' && url.password === '') return {kind: 'url', url, shown: shownUrl(url)}
    // neither in the message nor in the store: it may be a password
    const shown = url ? shownUrl(url) : 'the address'
    throw new DbaasError('INVALID_REQUEST', `cannot install from ${shown}: ${because ?? 'it names a user, which would be kept with the operation'}`, {
      suggestions: ['--from https://…', 'download the file yourself and give its path'],
    })
  }
  if (!isAbsolute(from)) {
    throw new DbaasError('INVALID_REQUEST', `"${from}" is neither a URL nor an absolute path`, {details: {from}, suggestions: ['--from https://…', '--from /path/to/archive.tar.xz']})
  }
  try {
    // a link to a file or folder (`latest`) is as good as what it leads to
    const path = await realpath(from)
    const found = await stat(path)
    await access(path, found.isDirectory() ? constants.R_OK | constants.X_OK : constants.R_OK)
    if (found.isDirectory()) return {kind: 'folder', path, shown: from}
    if (found.isFile()) return {kind: 'file', path, shown: from}
  } catch (cause) {
    const reasons: Record<string, string> = {ENOENT: 'there is no such file', ENOTDIR: 'there is no such file', EACCES: 'the agent may not read it'}
    const code = errnoOf(cause)
    throw new DbaasError('FILE_NOT_FOUND', `cannot read ${from}: ${reasons[code] ?? code}`, {
      cause, details: {file: from}, suggestions: [`ls -ld '${from}'`],
    })
  }
  throw new DbaasError('FILE_NOT_FOUND', `cannot read ${from}: it is neither a file nor a folder`, {details: {file: from}, suggestions: [`ls -ld '${from}'`]})
}

/** The file's own name, as checksum files list it. */
export const nameOf = (source: Source): string =>
  source.kind === 'url' ? decodeURIComponent(basename(source.url.pathname)) : basename(source.path)
