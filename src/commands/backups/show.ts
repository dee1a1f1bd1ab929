import {BaseCommand} from '../_support/base-command.js'
import {backupArgument} from '../_support/flags.js'

export default class BackupsShow extends BaseCommand {
  static override summary = 'Show one backup'
  static override examples = ['<%= config.bin %> backups show before-migration', '<%= config.bin %> backups show bak_01jd… --json']
  static override args = backupArgument

  async run(): Promise<unknown> {
    const {args} = await this.parse(BackupsShow)
    const client = await this.client()
    const {backup} = await client.call('backups.get', {params: {backup: args.backup}})
    return this.answer({backup}, async (paint) => (await import('../_support/render/backups.js')).renderBackup(backup, Date.now(), paint))
  }
}
