import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {operationFlags} from '../_support/flags.js'

export default class AgentAdopt extends BaseCommand {
  static override summary = 'Take over databases that another site left on this machine'
  static override description = 'dbaas doctor lists them under "strangers". They get new passwords; what runs goes on running.'
  static override examples = ['<%= config.bin %> agent adopt --site site_01… --plan', '<%= config.bin %> agent adopt --site site_01…']
  static override flags = {
    site: Flags.string({required: true, helpValue: '<id>', description: 'id of the site that made them'}),
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {flags} = await this.parse(AgentAdopt)
    const client = await this.client()
    const body = {site_id: flags.site, ...(flags.plan ? {plan: true} : {})}
    const answer = await client.call('agent.adopt', {body, idempotencyKey: crypto.randomUUID()})
    if ('plan' in answer) return this.answer(answer, async (paint) => (await import('../_support/render/operation.js')).renderPlan(answer.plan, paint))
    const {waitForAll} = await import('../_support/follow.js')
    const operations = flags.wait ? await waitForAll(client, answer.operations, flags.timeout) : answer.operations
    return this.answer({operations}, async (paint) => {
      const {doneLine, renderOperations} = await import('../_support/render/operation.js')
      if (operations.length === 0) return `There is nothing of ${flags.site} here.\n`
      return flags.wait ? operations.map((operation) => doneLine(`${operation.kind} ${operation.instance_id ?? ''}`, operation, paint)).join('')
        : renderOperations(operations, Date.now(), paint)
    })
  }
}
