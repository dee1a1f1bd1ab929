import {BaseCommand} from './_support/base-command.js'
import {instanceArgument, operationFlags} from './_support/flags.js'

export default class Restart extends BaseCommand {
  static override summary = 'Restart a database; new connections are held meanwhile'
  static override description = 'One with replicas is restarted server by server: each replica, then a switchover, then the old primary. The gap in writes is measured and printed.'
  static override examples = ['<%= config.bin %> restart demo', '<%= config.bin %> restart demo --plan', '<%= config.bin %> restart demo --no-wait --json']
  static override args = instanceArgument
  static override flags = operationFlags

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Restart)
    const client = await this.client()
    const {mutate} = await import('./_support/follow.js')
    const request = {params: {instance: args.name}, body: flags.plan ? {plan: true} : {}}
    const result = await mutate(client, 'instances.restart', request, flags)
    return this.answer(result, async (paint) => {
      const {doneLine, gapLine, renderMutation} = await import('./_support/render/operation.js')
      return renderMutation(result, paint, (instance, operation) => doneLine(`${instance?.name ?? args.name} restarted`, operation, paint) + gapLine(operation, paint))
    })
  }
}
