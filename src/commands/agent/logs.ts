import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {parseNumber} from '../_support/flags.js'

export default class AgentLogs extends BaseCommand {
  static override summary = "Show the last lines of the agent's own log"
  static override description = 'Works when no agent runs, too: that is when it is needed most.'
  static override examples = ['<%= config.bin %> agent logs', '<%= config.bin %> agent logs --lines 500']
  static override flags = {lines: Flags.string({char: 'n', default: '100', helpValue: '<n>', description: 'how many lines'})}

  async run(): Promise<unknown> {
    const {flags} = await this.parse(AgentLogs)
    const lines = parseNumber('lines', flags.lines, {integer: true, min: 1})
    const [client, location] = [await this.client({start: false}), await this.location()]
    const [{agentLog}, {printStream}] = await Promise.all([import('../_support/agent-log.js'), import('../_support/text-stream.js')])
    return printStream(agentLog(client, location, lines), {json: this.jsonEnabled(), follow: false})
  }
}
