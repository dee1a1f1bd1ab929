import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {instanceArgument, needlessYesFlag, operationFlags} from '../_support/flags.js'

export default class ReplicasAdd extends BaseCommand {
  static override summary = 'Add a replica to a database'
  static override description = `A copy of the primary that follows it, made while it serves. With high availability the first two replicas confirm commits and may
take over; all others, and all without it, are read replicas (dbaas url NAME --read-only).`
  static override examples = ['<%= config.bin %> replicas add demo', '<%= config.bin %> replicas add demo --count 2 --plan']
  static override args = instanceArgument
  static override flags = {
    count: Flags.string({helpValue: '<count>', default: '1', description: 'how many'}),
    ...needlessYesFlag,
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(ReplicasAdd)
    const {parseNumber} = await import('../_support/flags.js')
    const body = {count: parseNumber('count', flags.count, {integer: true, min: 1}), ...(flags.plan ? {plan: true} : {})}
    const client = await this.client()
    const {mutate} = await import('../_support/follow.js')
    const result = await mutate(client, 'replicas.add', {params: {instance: args.name}, body}, flags)
    return this.answer(result, async (paint) => (await import('../_support/render/high-availability.js')).renderScaled(result, args.name, paint))
  }
}
