import {BaseCommand} from './_support/base-command.js'
import {instanceArgument, operationFlags} from './_support/flags.js'

export default class Stop extends BaseCommand {
  static override summary = 'Stop a database; its data stays'
  static override examples = ['<%= config.bin %> stop demo', '<%= config.bin %> stop demo --no-wait --json']
  static override args = instanceArgument
  static override flags = operationFlags

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Stop)
    const client = await this.client()
    const {mutate} = await import('./_support/follow.js')
    const request = {params: {instance: args.name}, body: flags.plan ? {plan: true} : {}}
    const result = await mutate(client, 'instances.stop', request, flags)
    return this.answer(result, async (paint) => {
      const {doneLine, renderMutation} = await import('./_support/render/operation.js')
      return renderMutation(result, paint, (instance, operation) => doneLine(`${instance?.name ?? args.name} stopped`, operation, paint))
    })
  }
}
