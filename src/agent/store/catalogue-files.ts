import {mkdir, readFile, rename, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import type {Catalogue, ParameterDefinition} from '../../core/config/parameters.js'

/** Catalogues as files, one a version of an engine and of dbaas (whose list of managed parameters is part of it). */
export function catalogueFiles(folder: string, dbaasVersion: string) {
  const pathOf = (key: string): string => join(folder, `${key}-${dbaasVersion}.json`)
  return {
    async load(key: string): Promise<Catalogue | undefined> {
      try {
        const rows = JSON.parse(await readFile(pathOf(key), 'utf8')) as ParameterDefinition[]
        return new Map(rows.map((row) => [row.name, row]))
      } catch {
        // absent or damaged: it is read again from a server
        return undefined
      }
    },
    async save(key: string, catalogue: Catalogue): Promise<void> {
      await mkdir(folder, {recursive: true, mode: 0o700})
      const temporary = `${pathOf(key)}.${process.pid}.new`
      await writeFile(temporary, JSON.stringify([...catalogue.values()]), {mode: 0o600})
      await rename(temporary, pathOf(key))
    },
  }
}
