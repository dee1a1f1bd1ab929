import {BaseCommand} from '../_support/base-command.js'

export default class AgentStatus extends BaseCommand {
  static override summary = 'Show the agent; never starts one (exit 6 when none runs)'
  static override examples = ['<%= config.bin %> agent status', '<%= config.bin %> agent status --json']

  async run(): Promise<unknown> {
    await this.parse(AgentStatus)
    const client = await this.client({start: false})
    const {agent} = await client.call('agent.get', {})
    return this.answer({agent}, async (paint) => (await import('../_support/render/platform.js')).renderAgent(agent, Date.now(), paint))
  }
}
