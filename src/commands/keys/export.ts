import {BaseCommand} from '../_support/base-command.js'

export default class KeysExport extends BaseCommand {
  static override summary = 'Print the master key of the backups, for the safe'
  static override description = `Without it no backup can be read by anybody, on this machine or another; whoever has it, and the repository, can read
all of them. Keep it where the repository is not. That it was exported is in the audit log.`
  static override examples = ['<%= config.bin %> keys export', '<%= config.bin %> keys export --json > /media/usb/dbaas-key.json']

  async run(): Promise<unknown> {
    await this.parse(KeysExport)
    const client = await this.client()
    const {keys} = await client.call('keys.export', {idempotencyKey: crypto.randomUUID()})
    return this.answer({keys}, () => keys.map(({key}) => `${key}\n`).join(''))
  }
}
