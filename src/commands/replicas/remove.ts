import {BaseCommand} from '../_support/base-command.js'
import {instanceArgument, needlessYesFlag, nodeArgument, operationFlags} from '../_support/flags.js'

export default class ReplicasRemove extends BaseCommand {
  static override summary = 'Remove a replica of a database'
  static override description = `Its copy of the data is deleted; nothing is lost by that. One that confirms commits is given up first only when enough others do.
The primary cannot be removed (dbaas switchover NAME), nor the last replica that high availability needs (dbaas scale NAME --no-ha).`
  static override examples = ['<%= config.bin %> replicas remove demo demo-3', '<%= config.bin %> replicas remove demo demo-3 --plan']
  static override args = {...instanceArgument, ...nodeArgument}
  static override flags = {...needlessYesFlag, ...operationFlags}

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(ReplicasRemove)
    const client = await this.client()
    const {mutate} = await import('../_support/follow.js')
    const result = await mutate(client, 'replicas.remove', {params: {instance: args.name, node: args.node}, query: flags.plan ? {plan: true} : {}}, flags)
    return this.answer(result, async (paint) => (await import('../_support/render/high-availability.js')).renderScaled(result, args.name, paint))
  }
}
