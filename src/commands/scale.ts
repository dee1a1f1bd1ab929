import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {instanceArgument, notYet, operationFlags, refuseNotYet} from './_support/flags.js'

export default class Scale extends BaseCommand {
  static override summary = 'Change CPU, memory or storage of a database'
  static override description = 'Live where that is possible, else by one restart with new connections held; the write gap is measured and printed.'
  static override examples = ['<%= config.bin %> scale demo --size medium', '<%= config.bin %> scale demo --cpu 2 --memory 4GiB --plan']
  static override args = instanceArgument
  static override flags = {
    size: Flags.string({description: 'micro, small, medium, large or xlarge'}),
    cpu: Flags.string({helpValue: '<cores>', description: 'CPU cores; a fraction is a share of one'}),
    memory: Flags.string({helpValue: '<size>', description: 'memory, with a unit: 4GiB'}),
    storage: Flags.string({helpValue: '<size>', description: 'disk, with a unit: 20GB'}),
    ...notYet.ha,
    ...notYet.replicas,
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Scale)
    refuseNotYet('scale', flags)
    const {sizeBody} = await import('./_support/create-request.js')
    const body = {...sizeBody(flags), ...(flags.plan ? {plan: true} : {})}
    const client = await this.client()
    const {mutate} = await import('./_support/follow.js')
    const result = await mutate(client, 'instances.scale', {params: {instance: args.name}, body}, flags)
    return this.answer(result, async (paint) => {
      const {doneLine, renderMutation} = await import('./_support/render/operation.js')
      return renderMutation(result, paint, (instance, operation) => {
        const {applied, write_gap_ms: gap} = (operation.result ?? {}) as {applied?: string; write_gap_ms?: number | null}
        const how = applied === 'live' ? 'live: no write was held up' : applied === 'next-start' ? 'in force at the next start' : `by one restart, writes held up for ${gap} ms`
        return doneLine(`${instance?.name ?? args.name} is ${instance?.size.name ?? 'scaled'}, ${how}`, operation, paint)
      })
    })
  }
}
