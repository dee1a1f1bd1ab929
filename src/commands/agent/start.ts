import {BaseCommand} from '../_support/base-command.js'

export default class AgentStart extends BaseCommand {
  static override summary = 'Start the local agent in the background'
  static override description = 'Every command does so by itself when it needs one.'
  static override examples = ['<%= config.bin %> agent start', '<%= config.bin %> agent start --json']

  async run(): Promise<unknown> {
    await this.parse(AgentStart)
    const client = await this.client()
    const {agent} = await client.call('agent.get', {})
    return this.answer({agent}, async (paint) => (await import('../_support/render/platform.js')).renderAgent(agent, Date.now(), paint))
  }
}
