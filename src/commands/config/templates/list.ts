import {BaseCommand} from '../../_support/base-command.js'
import {engineFlag} from '../../_support/flags.js'

export default class ConfigTemplatesList extends BaseCommand {
  static override summary = 'List the configuration templates of an engine'
  static override examples = ['<%= config.bin %> config templates list', '<%= config.bin %> config templates list --engine postgresql --json']
  static override flags = engineFlag

  async run(): Promise<unknown> {
    const {flags} = await this.parse(ConfigTemplatesList)
    const client = await this.client()
    const {templates} = await client.call('templates.list', {params: {engine: flags.engine}})
    return this.answer({templates}, async (paint) => (await import('../../_support/render/configuration.js')).renderTemplates(templates, paint))
  }
}
