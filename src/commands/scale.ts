import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {instanceArgument, operationFlags, replicasFlag} from './_support/flags.js'

export default class Scale extends BaseCommand {
  static override summary = 'Change CPU, memory, storage or the number of servers of a database'
  static override description = `Live where that is possible, else by one restart with new connections held. The size is of each server: those of a database with replicas are
changed one after the other, replicas first, then a switchover. The write gap is measured and printed, and a failure rolls back. Servers are added and removed while the
database serves.`
  static override examples = ['<%= config.bin %> scale demo --size medium', '<%= config.bin %> scale demo --cpu 2 --memory 4GiB --plan', '<%= config.bin %> scale demo --ha', '<%= config.bin %> scale demo --replicas 3', '<%= config.bin %> scale demo --no-ha --replicas 0']
  static override args = instanceArgument
  static override flags = {
    size: Flags.string({description: 'micro, small, medium, large or xlarge'}),
    cpu: Flags.string({helpValue: '<cores>', description: 'CPU cores; a fraction is a share of one'}),
    memory: Flags.string({helpValue: '<size>', description: 'memory, with a unit: 4GiB'}),
    storage: Flags.string({helpValue: '<size>', description: 'disk, with a unit: 20GB'}),
    ha: Flags.boolean({allowNo: true, description: 'replicas confirm every commit, and one takes over when the primary is lost (--no-ha: they confirm nothing)'}),
    ...replicasFlag,
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Scale)
    const [{sizeBody}, {topologyBody}] = await Promise.all([import('./_support/create-request.js'), import('./_support/flags.js')])
    const body = {...sizeBody(flags), ...topologyBody(flags), ...(flags.plan ? {plan: true} : {})}
    const client = await this.client()
    const {mutate} = await import('./_support/follow.js')
    const result = await mutate(client, 'instances.scale', {params: {instance: args.name}, body}, flags)
    return this.answer(result, async (paint) => {
      const {renderScaled} = await import('./_support/render/high-availability.js')
      return renderScaled(result, args.name, paint)
    })
  }
}
