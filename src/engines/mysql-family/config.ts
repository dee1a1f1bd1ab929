/** Configuration of a server, put together from what each of the two engines brings. */
import type {EngineConfig} from '../engine.js'
import type {Describer} from './catalogue.js'
import {createCatalogueReader} from './catalogue.js'
import type {Dialect} from './dialect.js'
import {renderFiles} from './files.js'
import {canonicalName, toOptions} from './options.js'
import type {Effective, PreflightRules} from './preflight.js'
import {createPreflight} from './preflight.js'
import type {ValueRules} from './values.js'
import {createValues} from './values.js'

export interface ConfigParts {
  readonly dialect: Dialect
  readonly describer: Describer
  readonly values: ValueRules
  readonly preflight: PreflightRules
  /** Bytes that a server allocates at its start, from the values it would run with. */
  memoryOf(effective: Effective): number
  whyManaged(name: string): string | null
  readonly fromSize: EngineConfig['fromSize']
  readonly templates: EngineConfig['templates']
}

export function createConfig(parts: ConfigParts): EngineConfig {
  const {dialect} = parts
  const values = createValues(parts.values)
  const {preflight, effective} = createPreflight(dialect, parts.preflight)
  return {
    templates: parts.templates,
    fromSize: parts.fromSize,
    canonicalName,
    ...createCatalogueReader({dialect, describer: parts.describer, values, whyManaged: parts.whyManaged}),
    ...values,
    preflight,

    async memoryNeeded(host, asked, version) {
      const found = await effective(host, asked, version)
      return found === undefined ? undefined : parts.memoryOf(found)
    },

    async write(host, settings) {
      let changed = false
      for (const file of await renderFiles(dialect, host, {...settings, values: toOptions(settings.values)})) {
        const present = await host.read(file.path)
        if (present?.equals(Buffer.from(file.content))) continue
        await host.write(file)
        changed = true
      }
      return changed
    },
  }
}
