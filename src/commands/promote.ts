import {BaseCommand} from './_support/base-command.js'
import {instanceArgument, needlessYesFlag, nodeArgument, operationFlags} from './_support/flags.js'

export default class Promote extends BaseCommand {
  static override summary = 'Make a replica the primary, in order'
  static override description = 'A switchover to that node: nothing is lost. It must be one that confirms commits (sync in dbaas replicas list NAME).'
  static override examples = ['<%= config.bin %> promote demo demo-2', '<%= config.bin %> promote demo demo-2 --plan --json']
  static override args = {...instanceArgument, ...nodeArgument}
  static override flags = {...needlessYesFlag, ...operationFlags}

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Promote)
    const client = await this.client()
    const {mutate} = await import('./_support/follow.js')
    const result = await mutate(client, 'instances.promote', {params: {instance: args.name}, body: {node: args.node, ...(flags.plan ? {plan: true} : {})}}, flags)
    return this.answer(result, async (paint) => (await import('./_support/render/high-availability.js')).renderPrimaryChange(result, args.name, paint))
  }
}
