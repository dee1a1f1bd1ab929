import {BaseCommand} from '../_support/base-command.js'

export default class AgentStop extends BaseCommand {
  static override summary = 'Stop the agent; databases go on'
  static override description = 'Never starts one (exit 6 when none runs). Returns when it has ended.'
  static override examples = ['<%= config.bin %> agent stop', '<%= config.bin %> agent stop --json']

  async run(): Promise<unknown> {
    await this.parse(AgentStop)
    const [client, location] = [await this.client({start: false}), await this.location()]
    const {agent} = await client.call('agent.get', {})
    await client.call('agent.stop', {idempotencyKey: crypto.randomUUID()})
    const {untilGone} = await import('../_support/until-gone.js')
    await untilGone(client, agent.pid, location.local)
    return this.answer({agent: {...agent, stopped: true}}, (paint) => `${paint.green('✓')} the agent (pid ${agent.pid}) has stopped; databases go on\n`)
  }
}
