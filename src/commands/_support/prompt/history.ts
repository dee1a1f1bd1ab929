import {readFile, rename, writeFile} from 'node:fs/promises'
import {join} from 'node:path'

const limit = 500

/**
 * What survives the session. Statements do not: they hold people's data, and after `delete` nothing of an instance
 * may be found on the disk (DECISIONS.md 4). Within the session all lines are recalled.
 */
export const mayBeKept = (line: string): boolean => /^\\\w+(\s+[\w."$]+)?\s*$/.test(line) && line.trim() !== '\\q'

const fileOf = (home: string): string => join(home, 'prompt-history')

/** Newest first, as readline wants it. */
export async function loadHistory(home: string): Promise<string[]> {
  const text = await readFile(fileOf(home), 'utf8').catch(() => '')
  return text.split('\n').filter((line) => line !== '').reverse()
}

/** `lines` newest first. A history that cannot be written is no reason to fail. */
export async function saveHistory(home: string, lines: readonly string[]): Promise<void> {
  const kept = [...new Set(lines.filter(mayBeKept))].slice(0, limit).reverse()
  const path = fileOf(home)
  const temporary = `${path}.${process.pid}`
  try {
    await writeFile(temporary, kept.map((line) => `${line}\n`).join(''), {mode: 0o600})
    await rename(temporary, path)
  } catch {}
}
