import {BaseCommand} from '../_support/base-command.js'

export default class ContextList extends BaseCommand {
  static override summary = 'List the agents this CLI knows'
  static override examples = ['<%= config.bin %> context list', '<%= config.bin %> context list --json']

  async run(): Promise<unknown> {
    await this.parse(ContextList)
    const [{homeOf}, {listContexts}] = await Promise.all([import('../../agent/client/locate.js'), import('../../agent/client/contexts.js')])
    const contexts = listContexts(homeOf())
    return this.answer({contexts}, async (paint) => {
      const {renderTable} = await import('../_support/render/table.js')
      const columns = ['', 'CONTEXT', 'ADDRESS', 'TENANT', 'TOKEN'].map((title) => ({title}))
      return renderTable(columns, contexts.map((context) => [
        context.current ? paint.green('*') : ' ', paint.bold(context.name), context.address ?? 'the agent of this home',
        context.tenant ?? '', context.has_token ? 'saved' : '',
      ]), paint)
    })
  }
}
