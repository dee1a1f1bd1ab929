/** Parameters and templates as text. */
import type {ApiParameter, ApiParameterReading, ApiTemplate, ResponseOf} from '../../../core/api/schemas.js'
import {renderDetails} from './details.js'
import type {Paint} from './paint.js'
import {renderTable} from './table.js'
import {visible} from './visible.js'

const columnsOf = (...titles: string[]) => titles.map((title) => ({title}))
const valueText = (value: string | null): string => (value === null ? '-' : value === '' ? "''" : visible(value))
/** In a table one long path must not push every other column off the screen; `config show NAME PARAMETER` has it whole. */
const cell = (value: string | null): string => {
  const text = valueText(value)
  return text.length > 36 ? `${text.slice(0, 35)}…` : text
}

/** Without `managed`, those that the agent sets itself are only counted: nobody can change them. */
export function renderReadings(parameters: Readonly<Record<string, ApiParameterReading>>, {managed}: {managed: boolean}, paint: Paint): string {
  const entries = Object.entries(parameters).filter(([, reading]) => managed || reading.source !== 'managed')
  const hidden = Object.keys(parameters).length - entries.length
  const more = hidden === 0 ? '' : paint.dim(`${hidden} more are set by dbaas itself (--all)\n`)
  if (entries.length === 0) return `Every parameter has its default.\n${more}`
  const text = (value: string | null) => (entries.length === 1 ? valueText(value) : cell(value))
  const table = renderTable(columnsOf('PARAMETER', 'VALUE', 'UNIT', 'SOURCE', 'DEFAULT', 'CHANGE NEEDS'), entries.map(([name, reading]) => [
    paint.bold(name),
    `${text(reading.value)}${reading.pending_restart ? paint.yellow(' (after a restart)') : ''}`,
    reading.unit ?? '',
    reading.source,
    text(reading.default),
    reading.requires === 'fixed' ? paint.dim('cannot change') : reading.requires,
  ]), paint)
  return table + more
}

export function renderParameter(parameter: ApiParameter, reading: ApiParameterReading | undefined, paint: Paint): string {
  const unit = parameter.unit === null ? '' : ` ${parameter.unit}`
  const range = parameter.min === null && parameter.max === null ? undefined : `${parameter.min ?? '…'} to ${parameter.max ?? '…'}${unit}`
  return `${paint.bold(parameter.name)}  ${parameter.description}\n${renderDetails([
    ['now', reading === undefined ? undefined : `${valueText(reading.value)}${reading.unit === null ? '' : ` ${reading.unit}`}  (${reading.source})`],
    ['type', parameter.type],
    ['unit', parameter.unit ?? undefined],
    ['range', range],
    ['values', parameter.values?.join(', ')],
    ['default', parameter.default === null ? undefined : `${valueText(parameter.default)}${unit}`],
    ['change needs', {reload: 'a reload', restart: 'a restart', fixed: 'cannot be changed'}[parameter.requires]],
    ['managed', parameter.managed ?? undefined],
    ['category', parameter.category],
  ], paint)}`
}

export function renderDifferences(differences: ResponseOf<'configuration.diff'>['differences'], left: string, right: string, paint: Paint): string {
  if (differences.length === 0) return `${left} and ${right} have the same parameters.\n`
  return renderTable(columnsOf('PARAMETER', left, right, 'UNIT'), differences.map((difference) => [
    paint.bold(difference.name), cell(difference.left), cell(difference.right), difference.unit ?? '',
  ]), paint)
}

export function renderTemplates(templates: readonly ApiTemplate[], paint: Paint): string {
  if (templates.length === 0) return 'No templates.\n'
  return renderTable(columnsOf('TEMPLATE', 'ENGINE', 'KIND', 'DESCRIPTION'), templates.map((template) => [
    paint.bold(template.name), template.engine, template.built_in ? 'built in' : 'own', visible(template.description),
  ]), paint)
}

export function renderTemplate(template: ApiTemplate, paint: Paint): string {
  const rows = Object.entries(template.parameters).map(([name, value]) => [name, valueText(value)] as const)
  const kind = template.built_in ? 'built in' : 'own'
  return `${paint.bold(template.name)}  ${template.engine}, ${kind}  ${paint.dim(visible(template.description))}\n${
    rows.length === 0 ? '  sets nothing\n' : renderDetails(rows, paint)}`
}
