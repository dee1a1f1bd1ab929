import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {instanceArgument, operationFlags} from './_support/flags.js'

export default class Backup extends BaseCommand {
  static override summary = 'Take a backup of a database now'
  static override description = `It is complete by itself, encrypted, and read back before it counts. Without a label it is kept as the schedule
says (dbaas backups schedule NAME); with one it is kept until it is deleted, or as long as --keep says.`
  static override examples = ['<%= config.bin %> backup demo', '<%= config.bin %> backup demo --label before-migration --keep 30d']
  static override args = instanceArgument
  static override flags = {
    label: Flags.string({description: 'a name for it, to find and restore it by'}),
    keep: Flags.string({helpValue: '<duration>', description: 'keep a labelled one for so long', dependsOn: ['label']}),
    type: Flags.string({options: ['full', 'incremental'], description: 'full reads everything; incremental (the default) what changed, where the server can tell'}),
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Backup)
    const {parseSeconds} = await import('./_support/flags.js')
    const body = {
      ...(flags.label === undefined ? {} : {label: flags.label}), ...(flags.keep === undefined ? {} : {keep_seconds: parseSeconds('keep', flags.keep)}),
      ...(flags.type === undefined ? {} : {type: flags.type as 'full' | 'incremental'}), ...(flags.plan ? {plan: true} : {}),
    }
    const client = await this.client()
    const {mutate} = await import('./_support/follow.js')
    const result = await mutate(client, 'backups.create', {params: {instance: args.name}, body}, flags)
    return this.answer(result, async (paint) => {
      const [{renderMutation}, {renderTaken}] = await Promise.all([import('./_support/render/operation.js'), import('./_support/render/backups.js')])
      return renderMutation(result, paint, (_, operation) => renderTaken(result, operation, paint))
    })
  }
}
