/** Parameters and templates as text. */
import type {ApiParameter, ApiParameterReading, ApiTemplate, ResponseOf} from '../../../core/api/schemas.js'
import {renderDetails} from './details.js'
import type {Paint} from './paint.js'
import {renderTable} from './table.js'
import {visible} from './visible.js'

const columnsOf = (...titles: string[]) => titles.map((title) => ({title}))
const valueText = (value: string | null): string => (value === null ? '-' : value === '' ? "''" : visible(value))

export function renderReadings(parameters: Readonly<Record<string, ApiParameterReading>>, paint: Paint): string {
  const entries = Object.entries(parameters)
  if (entries.length === 0) return 'Every parameter has its default.\n'
  return renderTable(columnsOf('PARAMETER', 'VALUE', 'UNIT', 'SOURCE', 'DEFAULT', 'CHANGE NEEDS'), entries.map(([name, reading]) => [
    paint.bold(name),
    `${valueText(reading.value)}${reading.pending_restart ? paint.yellow(' (after a restart)') : ''}`,
    reading.unit ?? '',
    reading.source,
    valueText(reading.default),
    reading.requires === 'fixed' ? paint.dim('cannot change') : reading.requires,
  ]), paint)
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
    paint.bold(difference.name), valueText(difference.left), valueText(difference.right), difference.unit ?? '',
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
