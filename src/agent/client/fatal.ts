/**
 * The last words of an agent that could not start, for the CLI that launched it: `<home>/agent.error.json`,
 * `{"fatal": ErrorDetail}`. The launcher removes it before each launch.
 */
import {readFileSync, renameSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import type {DbaasError, ErrorDetail} from '../../core/errors.js'
import {discard} from './home.js'

export const fatalFile = (home: string): string => join(home, 'agent.error.json')

/** For the agent, when it gives up. Never throws: a full disk, which may be why it gives up, must not hide it. */
export function writeFatal(home: string, error: DbaasError): void {
  const temporary = `${fatalFile(home)}.${process.pid}`
  try {
    writeFileSync(temporary, `${JSON.stringify({fatal: error.toDetail()})}\n`, {mode: 0o600})
    renameSync(temporary, fatalFile(home))
  } catch {
    discard(temporary)
  }
}

export function readFatal(home: string): ErrorDetail | undefined {
  try {
    const {fatal} = JSON.parse(readFileSync(fatalFile(home), 'utf8')) as {fatal?: ErrorDetail}
    return typeof fatal?.code === 'string' && typeof fatal.message === 'string' ? fatal : undefined
  } catch {
    return undefined
  }
}

export const clearFatal = (home: string): void => discard(fatalFile(home))
