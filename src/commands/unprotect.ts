import {BaseCommand} from './_support/base-command.js'
import {instanceArgument, planFlag} from './_support/flags.js'

export default class Unprotect extends BaseCommand {
  static override summary = 'Allow a protected database to be deleted'
  static override examples = ['<%= config.bin %> unprotect demo', '<%= config.bin %> unprotect demo --plan']
  static override args = instanceArgument
  static override flags = planFlag

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Unprotect)
    const client = await this.client()
    const body = {protected: false, ...(flags.plan ? {plan: true} : {})}
    const result = await client.call('instances.update', {params: {instance: args.name}, body, idempotencyKey: crypto.randomUUID()})
    return this.answer(result, async (paint) => {
      if ('plan' in result) return (await import('./_support/render/operation.js')).renderPlan(result.plan, paint)
      return `${paint.green('✓')} ${result.instance.name} can be deleted\n`
    })
  }
}
