import {BaseCommand} from './_support/base-command.js'
import {instanceArgument, planFlag} from './_support/flags.js'

export default class Protect extends BaseCommand {
  static override summary = 'Refuse to delete a database until it is unprotected'
  static override examples = ['<%= config.bin %> protect demo', '<%= config.bin %> protect demo --plan']
  static override args = instanceArgument
  static override flags = planFlag

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Protect)
    const client = await this.client()
    const body = {protected: true, ...(flags.plan ? {plan: true} : {})}
    const result = await client.call('instances.update', {params: {instance: args.name}, body, idempotencyKey: crypto.randomUUID()})
    return this.answer(result, async (paint) => {
      if ('plan' in result) return (await import('./_support/render/operation.js')).renderPlan(result.plan, paint)
      return `${paint.green('✓')} ${result.instance.name} is protected from deletion\n`
    })
  }
}
