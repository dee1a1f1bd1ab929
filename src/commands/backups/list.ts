import {BaseCommand} from '../_support/base-command.js'
import {optionalArgument} from '../_support/flags.js'

export default class BackupsList extends BaseCommand {
  static override summary = 'List backups, the newest first'
  static override description = 'Of one database or of all; those that were kept of deleted databases, too.'
  static override examples = ['<%= config.bin %> backups list', '<%= config.bin %> backups list demo --json']
  static override args = {name: optionalArgument('name or id of the instance')}

  async run(): Promise<unknown> {
    const {args} = await this.parse(BackupsList)
    const client = await this.client()
    const {backups} = await client.call('backups.list', {query: args.name === undefined ? {} : {instance: args.name}})
    return this.answer({backups}, async (paint) => (await import('../_support/render/backups.js')).renderBackups(backups, Date.now(), paint))
  }
}
