import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {instanceArgument, needlessYesFlag, operationFlags} from '../_support/flags.js'

const faults = ['kill', 'hang', 'partition'] as const

export default class DrillFailover extends BaseCommand {
  static override summary = 'Rehearse the loss of the primary'
  static override description = `A real writer writes through the endpoint, and a real fault befalls the primary: it is killed (the default), stops dead, or is cut off
from its replicas. Each write that was acknowledged is looked for afterwards. The receipt is kept: the time to the first acknowledged
write, acknowledged writes lost (0), and how long each phase took. Connections to the primary are cut, as in earnest.
With --clone it is done on a copy with as many servers, which is made for it and deleted afterwards: nobody notices.`
  static override examples = ['<%= config.bin %> drill failover demo', '<%= config.bin %> drill failover demo --clone', '<%= config.bin %> drill failover demo --hang --json']
  static override args = instanceArgument
  static override flags = {
    kill: Flags.boolean({description: 'kill -9 all of the primary (the default)', exclusive: ['hang', 'partition']}),
    hang: Flags.boolean({description: 'stop the primary dead, without ending it', exclusive: ['kill', 'partition']}),
    partition: Flags.boolean({description: 'cut the primary off from its replicas', exclusive: ['kill', 'hang']}),
    clone: Flags.boolean({description: 'on a copy that is made for it, so that nobody notices'}),
    ...needlessYesFlag,
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(DrillFailover)
    const fault = faults.find((each) => flags[each])
    const client = await this.client()
    const {mutate} = await import('../_support/follow.js')
    const body = {...(fault === undefined ? {} : {fault}), ...(flags.clone ? {clone: true} : {}), ...(flags.plan ? {plan: true} : {})}
    const result = await mutate(client, 'drills.failover', {params: {instance: args.name}, body}, flags)
    return this.answer(result, async (paint) => (await import('../_support/render/high-availability.js')).renderFailoverDrill(result, args.name, paint))
  }
}
