import {BaseCommand} from '../_support/base-command.js'
import {backupArgument, operationFlags, yesFlag} from '../_support/flags.js'

export default class BackupsDelete extends BaseCommand {
  static override summary = 'Delete a backup'
  static override description = 'Others do not need it: each is complete by itself. Asks for its name to be typed. In a script: --yes.'
  static override examples = ['<%= config.bin %> backups delete before-migration', '<%= config.bin %> backups delete bak_01jd… --yes']
  static override args = backupArgument
  static override flags = {...yesFlag, ...operationFlags}

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(BackupsDelete)
    const {confirm} = await import('../_support/confirm.js')
    if (!flags.plan) await confirm({name: args.backup, deed: `delete the backup ${args.backup}`, yes: flags.yes, command: `dbaas backups delete ${args.backup}`})
    const client = await this.client()
    const {mutate} = await import('../_support/follow.js')
    const result = await mutate(client, 'backups.delete', {params: {backup: args.backup}, query: flags.plan ? {plan: true} : {}}, flags)
    return this.answer(result, async (paint) => {
      const {doneLine, renderMutation} = await import('../_support/render/operation.js')
      return renderMutation(result, paint, (_, operation) => doneLine(`${args.backup} deleted`, operation, paint))
    })
  }
}
