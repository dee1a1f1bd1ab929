import {BaseCommand} from '../_support/base-command.js'
import {argument} from '../_support/flags.js'

export default class ContextRemove extends BaseCommand {
  static override summary = 'Forget an agent; the agent itself is not touched'
  static override examples = ['<%= config.bin %> context remove office', '<%= config.bin %> context remove office --json']
  static override args = {name: argument('name of the context')}

  async run(): Promise<unknown> {
    const {args} = await this.parse(ContextRemove)
    const [{homeOf}, {removeContext}] = await Promise.all([import('../../agent/client/locate.js'), import('../../agent/client/contexts.js')])
    removeContext(homeOf(), args.name)
    return this.answer({context: {name: args.name}}, (paint) => `${paint.green('✓')} context ${args.name} removed\n`)
  }
}
