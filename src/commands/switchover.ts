import {BaseCommand} from './_support/base-command.js'
import {instanceArgument, needlessYesFlag, operationFlags, toNodeFlag} from './_support/flags.js'

export default class Switchover extends BaseCommand {
  static override summary = 'Change the primary in order'
  static override description = `New connections are held, the old primary ends in order, the new one is taken when it has everything, and the old one follows it.
Nothing is lost; when the new primary does not catch up, the old one goes on. The write gap is measured and printed.`
  static override examples = ['<%= config.bin %> switchover demo', '<%= config.bin %> switchover demo --to demo-2', '<%= config.bin %> switchover demo --plan']
  static override args = instanceArgument
  static override flags = {...toNodeFlag, ...needlessYesFlag, ...operationFlags}

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Switchover)
    const client = await this.client()
    const {mutate} = await import('./_support/follow.js')
    const body = {...(flags.to === undefined ? {} : {to: flags.to}), ...(flags.plan ? {plan: true} : {})}
    const result = await mutate(client, 'instances.switchover', {params: {instance: args.name}, body}, flags)
    return this.answer(result, async (paint) => (await import('./_support/render/high-availability.js')).renderPrimaryChange(result, args.name, paint))
  }
}
