import {BaseCommand} from '../_support/base-command.js'
import {instanceArgument, operationFlags} from '../_support/flags.js'

export default class DrillRestore extends BaseCommand {
  static override summary = 'Prove that a database can be restored'
  static override description = `The newest backup and all of the log go into a throw-away server; every table is read and every index checked. The database does
not notice. The receipt is kept: the time it took (RTO), what would have been lost (RPO). It is done weekly by itself.`
  static override examples = ['<%= config.bin %> drill restore demo']
  static override args = instanceArgument
  static override flags = {...operationFlags}

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(DrillRestore)
    const client = await this.client()
    const {mutate} = await import('../_support/follow.js')
    const result = await mutate(client, 'drills.restore', {params: {instance: args.name}, body: flags.plan ? {plan: true} : {}}, flags)
    return this.answer(result, async (paint) => {
      const {renderDrill} = await import('../_support/render/restored.js')
      return renderDrill(result, args.name, paint)
    })
  }
}
