import type {ApiInstance, ApiOperation} from '../../core/api/schemas.js'
import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {operationFlags} from '../_support/flags.js'

export default class AgentAdopt extends BaseCommand {
  static override summary = 'Take over the databases that a lost site left here'
  static override description = `Data is kept; each server is restarted once, with a new certificate and a new password. Its backups are found again in the repositories
that are known here, where the master key of the lost site is here, too: put it back first (dbaas keys import FILE), and add
repositories of its own (dbaas repositories add). Without the key the database is protected anew, and what was backed up before
waits for it. "doctor" lists what there is. Never for a site whose agent still runs.`
  static override examples = ['<%= config.bin %> agent adopt --site site_01kxa…', '<%= config.bin %> agent adopt --site site_01kxa… --plan']
  static override flags = {
    site: Flags.string({required: true, helpValue: '<id>', description: 'the id of the lost site, as "doctor" shows it'}),
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {flags} = await this.parse(AgentAdopt)
    const client = await this.client()
    const {waitFor} = await import('../_support/follow.js')
    const {renderAdopted, renderPlan} = await import('../_support/render/operation.js')
    const answer = await client.call('agent.adopt', {body: {site_id: flags.site, ...(flags.plan ? {plan: true} : {})}, idempotencyKey: crypto.randomUUID()})
    if ('plan' in answer) return this.answer(answer, (paint) => renderPlan(answer.plan, paint))
    const operations: ApiOperation[] = []
    for (const operation of answer.operations) operations.push(flags.wait ? await waitFor(client, operation, flags.timeout) : operation)
    const instances: ApiInstance[] = []
    for (const {id} of answer.instances) instances.push((await client.call('instances.get', {params: {instance: id}})).instance)
    return this.answer({operations, instances}, (paint) => renderAdopted(instances, operations, paint))
  }
}
