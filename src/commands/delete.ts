import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {instanceArgument, operationFlags, yesFlag} from './_support/flags.js'

export default class Delete extends BaseCommand {
  static override summary = 'Delete a database with everything of it'
  static override description = 'Asks for its name to be typed. In a script: --yes. A protected instance is refused (dbaas unprotect).'
  static override examples = ['<%= config.bin %> delete demo', '<%= config.bin %> delete demo --yes --json', '<%= config.bin %> delete demo --final-backup']
  static override args = instanceArgument
  static override flags = {
    'final-backup': Flags.boolean({description: 'take a last backup first, and keep it'}),
    'keep-backups': Flags.boolean({description: 'keep its backups: they can be restored by its name'}),
    ...yesFlag,
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Delete)
    const {confirm} = await import('./_support/confirm.js')
    if (!flags.plan) {
      await confirm({name: args.name, deed: `delete ${args.name} with all its data${flags['keep-backups'] ? '' : flags['final-backup'] ? ' and all its backups but a last one' : ' and all its backups'}`, yes: flags.yes, command: `dbaas delete ${args.name}`})
    }
    const client = await this.client()
    const {mutate} = await import('./_support/follow.js')
    const request = {params: {instance: args.name}, query: {
      ...(flags.plan ? {plan: true} : {}), ...(flags['keep-backups'] ? {keep_backups: true} : {}), ...(flags['final-backup'] ? {final_backup: true} : {}),
    }}
    const result = await mutate(client, 'instances.delete', request, flags)
    return this.answer(result, async (paint) => {
      const {doneLine, renderMutation} = await import('./_support/render/operation.js')
      return renderMutation(result, paint, (instance, operation) => doneLine(`${instance?.name ?? args.name} deleted`, operation, paint))
    })
  }
}
