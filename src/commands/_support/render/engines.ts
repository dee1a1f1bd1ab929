/** Engines and their versions as text. */
import type {ApiEngine, ApiOperation} from '../../../core/api/schemas.js'
import {renderDetails} from './details.js'
import {doneLine} from './operation.js'
import type {Paint} from './paint.js'
import {renderTable} from './table.js'
import {visible} from './visible.js'

const sources: Record<string, string> = {
  bundled: 'comes with dbaas', npm: 'from the npm registry', system: 'found on this machine', archive: 'from an archive or folder', image: 'image',
}

export function renderEngines(engines: readonly ApiEngine[], notes: readonly string[], paint: Paint): string {
  const rows = engines.flatMap((engine) => (engine.versions.length === 0
    ? [[paint.bold(engine.name), '-', paint.yellow('none found'), '-', '', '']]
    : engine.versions.map((version) => [
        paint.bold(engine.name),
        version.version,
        version.installed ? paint.green('installed') : paint.dim('available'),
        version.runtime,
        sources[version.source] ?? version.source,
        version.path ?? '',
      ])))
  const table = renderTable(['ENGINE', 'VERSION', 'STATE', 'RUNTIME', 'SOURCE', 'PATH'].map((title) => ({title})), rows, paint)
  const hints = engines.filter((engine) => engine.hints.length > 0).map((engine) =>
    `\nnone found: ${engine.title}\n${engine.hints.map((hint) => `    ${paint.cyan('→')} ${hint}\n`).join('')}`)
  return `${table}${hints.join('')}${notes.map((note) => `${paint.yellow('!')} ${visible(note)}\n`).join('')}`
}

interface Installed {
  readonly engine: string
  readonly version: string
  readonly path: string
  readonly checksum: string | null
  readonly already: boolean
}

export function renderInstalled(operation: ApiOperation, paint: Paint): string {
  const {engine, version, path, checksum, already} = operation.result as Installed
  return `${doneLine(`${engine} ${version} ${already ? 'was already installed' : 'installed'}`, operation, paint)}${renderDetails([
    ['path', path],
    ['checksum', checksum ?? undefined],
  ], paint)}`
}
