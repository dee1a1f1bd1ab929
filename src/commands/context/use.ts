import {BaseCommand} from '../_support/base-command.js'
import {argument} from '../_support/flags.js'

export default class ContextUse extends BaseCommand {
  static override summary = 'Choose the agent that commands talk to when none is named'
  static override examples = ['<%= config.bin %> context use office', '<%= config.bin %> context use office --json']
  static override args = {name: argument('name of the context')}

  async run(): Promise<unknown> {
    const {args} = await this.parse(ContextUse)
    const [{homeOf}, {useContext}] = await Promise.all([import('../../agent/client/locate.js'), import('../../agent/client/contexts.js')])
    useContext(homeOf(), args.name)
    return this.answer({context: {name: args.name}}, (paint) => `${paint.green('✓')} commands now talk to ${args.name}\n`)
  }
}
