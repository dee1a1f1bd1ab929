import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {instanceArgument, notYet, operationFlags} from './_support/flags.js'

export default class Scale extends BaseCommand {
  static override summary = 'Give a database more or less CPU, memory or storage'
  static override description = 'Live where the runtime and the engine can, else by a restart that holds new connections; prints how long no write got through.'
  static override examples = ['<%= config.bin %> scale demo --size medium', '<%= config.bin %> scale demo --memory 4GiB --plan']
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
    const {scaleBody} = await import('./_support/scale-request.js')
    const body = scaleBody(args.name, flags)
    const client = await this.client()
    const {mutate} = await import('./_support/follow.js')
    const result = await mutate(client, 'instances.scale', {params: {instance: args.name}, body}, flags)
    return this.answer(result, async (paint) => {
      const [{renderMutation}, {renderScaled}] = await Promise.all([import('./_support/render/operation.js'), import('./_support/render/instance.js')])
      return renderMutation(result, paint, (instance, operation) => (instance ? renderScaled(instance, operation, paint) : ''))
    })
  }
}
