import {BaseCommand} from '../_support/base-command.js'
import {backupArgument, operationFlags} from '../_support/flags.js'

export default class BackupsVerify extends BaseCommand {
  static override summary = 'Read all of a backup back, and the log that it needs'
  static override description = 'Every object is fetched, decrypted and compared with what was read from the server. A damaged one ends with exit code 1.'
  static override examples = ['<%= config.bin %> backups verify before-migration', '<%= config.bin %> backups verify bak_01jd… --json']
  static override args = backupArgument
  static override flags = operationFlags

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(BackupsVerify)
    const client = await this.client()
    const {mutate} = await import('../_support/follow.js')
    const result = await mutate(client, 'backups.verify', {params: {backup: args.backup}, body: flags.plan ? {plan: true} : {}}, flags)
    return this.answer(result, async (paint) => {
      const {doneLine, renderMutation} = await import('../_support/render/operation.js')
      return renderMutation(result, paint, (_, operation) => doneLine(`${args.backup} is whole, and so is the log that it needs`, operation, paint))
    })
  }
}
