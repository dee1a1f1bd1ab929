/** What a person has configured of a repository, read one by one by its kind. Bad ones are told by name, never by value: some are secrets. */
import {DbaasError} from '../../core/errors.js'
import {nearest} from '../../core/nearest.js'

export type Settings = Readonly<Record<string, unknown>>

export interface SettingsReader {
  /** Throws INVALID_REQUEST when it is absent, empty, or no text. */
  text(name: string): string
  /** Undefined when absent. */
  optionalText(name: string): string | undefined
  flag(name: string, fallback: boolean): boolean
  /** To be called when all have been read. Throws INVALID_REQUEST for one that nobody has asked for. */
  done(): void
}

export function readSettings(kind: string, settings: Settings): SettingsReader {
  const asked = new Set<string>()
  const refuse = (name: string, because: string, suggestions: readonly string[] = []): never => {
    throw new DbaasError('INVALID_REQUEST', `the setting "${name}" of a repository of kind ${kind} ${because}`, {details: {setting: name, kind}, suggestions})
  }
  function optionalText(name: string): string | undefined {
    asked.add(name)
    const value = settings[name]
    if (value === undefined || value === null) return undefined
    return typeof value === 'string' && value.trim() !== '' ? value : refuse(name, 'must be text, and not empty')
  }
  return {
    optionalText,
    text: (name) => optionalText(name) ?? refuse(name, 'is missing'),
    flag(name, fallback) {
      asked.add(name)
      const value = settings[name] ?? fallback
      return typeof value === 'boolean' ? value : refuse(name, 'must be true or false')
    },
    done() {
      const unknown = Object.keys(settings).find((name) => !asked.has(name))
      if (unknown === undefined) return
      const near = nearest(unknown, asked)
      refuse(unknown, 'is unknown', near ? [`did you mean ${near}?`] : [`the settings are ${[...asked].join(', ')}`])
    },
  }
}
