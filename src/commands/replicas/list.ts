import {BaseCommand} from '../_support/base-command.js'
import {instanceArgument} from '../_support/flags.js'

export default class ReplicasList extends BaseCommand {
  static override summary = 'List the replicas of a database'
  static override description = 'Who confirms commits (sync), how far each is behind, and reported and wanted state.'
  static override examples = ['<%= config.bin %> replicas list demo', '<%= config.bin %> replicas list demo --json']
  static override args = instanceArgument

  async run(): Promise<unknown> {
    const {args} = await this.parse(ReplicasList)
    const client = await this.client()
    const {replicas} = await client.call('replicas.list', {params: {instance: args.name}})
    return this.answer({replicas}, async (paint) => (await import('../_support/render/high-availability.js')).renderReplicas(replicas, args.name, paint))
  }
}
