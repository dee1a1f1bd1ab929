import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {backupArgument, operationFlags} from '../_support/flags.js'

export default class BackupsVerify extends BaseCommand {
  static override summary = 'Read all of a backup back, and the log that it needs'
  static override description = `Every object is fetched, decrypted and compared with what was read from the server. A damaged one ends with exit code 1.
--restore-test restores it into a throw-away server as well, reads every table, and checks every index.`
  static override examples = ['<%= config.bin %> backups verify before-migration', '<%= config.bin %> backups verify before-migration --restore-test', '<%= config.bin %> backups verify bak_01jd… --json']
  static override args = backupArgument
  static override flags = {...operationFlags, 'restore-test': Flags.boolean({description: 'restore it into a throw-away server, too, and check all of it there'})}

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(BackupsVerify)
    const client = await this.client()
    const {mutate} = await import('../_support/follow.js')
    const result = await mutate(client, 'backups.verify', {params: {backup: args.backup}, body: {...(flags['restore-test'] ? {restore_test: true} : {}), ...(flags.plan ? {plan: true} : {})}}, flags)
    return this.answer(result, async (paint) => {
      if (flags['restore-test']) return (await import('../_support/render/restored.js')).renderDrill(result, args.backup, paint)
      const {doneLine, renderMutation} = await import('../_support/render/operation.js')
      return renderMutation(result, paint, (_, operation) => doneLine(`${args.backup} is whole, and so is the log that it needs`, operation, paint))
    })
  }
}
