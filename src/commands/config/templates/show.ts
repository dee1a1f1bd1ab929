import {BaseCommand} from '../../_support/base-command.js'
import {argument, engineFlag} from '../../_support/flags.js'

export default class ConfigTemplatesShow extends BaseCommand {
  static override summary = 'Show what a template sets'
  static override examples = ['<%= config.bin %> config templates show oltp', '<%= config.bin %> config templates show oltp --json']
  static override args = {template: argument('name of the template')}
  static override flags = engineFlag

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(ConfigTemplatesShow)
    const client = await this.client()
    const {template} = await client.call('templates.get', {params: {engine: flags.engine, template: args.template}})
    return this.answer({template}, async (paint) => (await import('../../_support/render/configuration.js')).renderTemplate(template, paint))
  }
}
