import {BaseCommand} from '../_support/base-command.js'

export default class EnginesList extends BaseCommand {
  static override summary = 'List engines, their versions, and which are installed'
  static override examples = ['<%= config.bin %> engines list', '<%= config.bin %> engines list --json']

  async run(): Promise<unknown> {
    await this.parse(EnginesList)
    const client = await this.client()
    const {engines, notes} = await client.call('engines.list', {})
    return this.answer({engines, notes}, async (paint) => (await import('../_support/render/engines.js')).renderEngines(engines, notes, paint))
  }
}
