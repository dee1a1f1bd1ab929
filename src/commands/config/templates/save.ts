import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../../_support/base-command.js'
import {argument, engineFlag, parseAssignments, setFlag} from '../../_support/flags.js'

export default class ConfigTemplatesSave extends BaseCommand {
  static override summary = 'Make a template, or replace one'
  static override description = 'Instances that had the template applied before do not change: a template is copied when it is applied.'
  static override examples = [
    '<%= config.bin %> config templates save batch --set work_mem=256MB --set maintenance_work_mem=1GB',
    '<%= config.bin %> config templates save like-demo --from demo --description "what demo has"',
  ]
  static override args = {template: argument('name of the template')}
  static override flags = {
    ...engineFlag,
    ...setFlag,
    from: Flags.string({helpValue: '<instance>', description: 'start with the parameters set on this instance'}),
    description: Flags.string({description: 'what it is for'}),
    version: Flags.string({description: 'version to check the values against; the newest installed by default'}),
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(ConfigTemplatesSave)
    const own = parseAssignments(flags.set ?? [])
    if (flags.from === undefined && Object.keys(own).length === 0) {
      const {DbaasError} = await import('../../../core/errors.js')
      throw new DbaasError('USAGE', 'a template needs at least one parameter', {suggestions: [`dbaas config templates save ${args.template} --set work_mem=64MB`]})
    }
    const client = await this.client()
    const from = flags.from === undefined ? undefined : (await client.call('instances.get', {params: {instance: flags.from}})).instance
    const parameters = {...from?.configuration.parameters, ...own}
    const engine = from?.engine ?? flags.engine
    const body = {parameters, ...(flags.description ? {description: flags.description} : {}), ...(flags.version ? {version: flags.version} : {})}
    const {template} = await client.call('templates.save', {params: {engine, template: args.template}, body, idempotencyKey: crypto.randomUUID()})
    return this.answer({template}, async (paint) =>
      `${paint.green('✓')} template ${template.name} saved\n${(await import('../../_support/render/configuration.js')).renderTemplate(template, paint)}`)
  }
}
