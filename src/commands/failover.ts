import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {instanceArgument, operationFlags, toNodeFlag, yesFlag} from './_support/flags.js'

export default class Failover extends BaseCommand {
  static override summary = 'Make a replica the primary: the primary is lost, or is to be given up'
  static override description = `The old primary is killed first, and only a replica that has every acknowledged write is taken; where that cannot be told, nothing is
done. It happens by itself when a primary is lost. --allow-data-loss takes the best replica that answers, and asks for the name of the
database to be typed; in a script: --yes. For a healthy primary: dbaas switchover.`
  static override examples = [
    '<%= config.bin %> failover demo', '<%= config.bin %> failover demo --force --to demo-2', '<%= config.bin %> failover demo --plan --json',
    '<%= config.bin %> failover demo --allow-data-loss',
  ]
  static override args = instanceArgument
  static override flags = {
    ...toNodeFlag,
    force: Flags.boolean({description: 'though the primary is healthy: health is not asked for; that no acknowledged write is lost, still is'}),
    'allow-data-loss': Flags.boolean({description: 'though acknowledged writes may be lost: where too few replicas answer to tell who has all of them'}),
    ...yesFlag,
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Failover)
    const client = await this.client()
    const lossy = flags['allow-data-loss'] ? (await client.call('instances.get', {params: {instance: args.name}})).instance.name : undefined
    if (lossy !== undefined && !flags.plan) {
      const {confirm} = await import('./_support/confirm.js')
      await confirm({name: lossy, deed: `fail ${lossy} over even if acknowledged writes are lost`, yes: flags.yes, command: `dbaas failover ${lossy} --allow-data-loss`})
    }
    const {mutate} = await import('./_support/follow.js')
    const result = await mutate(client, 'instances.failover', {params: {instance: args.name}, body: {
      ...(flags.to === undefined ? {} : {to: flags.to}), ...(flags.force ? {force: true} : {}), ...(lossy === undefined ? {} : {allow_data_loss: lossy}),
      ...(flags.plan ? {plan: true} : {}),
    }}, flags)
    return this.answer(result, async (paint) => (await import('./_support/render/high-availability.js')).renderPrimaryChange(result, args.name, paint))
  }
}
