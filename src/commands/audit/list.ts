import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {parseNumber} from '../_support/flags.js'

export default class AuditList extends BaseCommand {
  static override summary = 'List audit entries, newest first'
  static override examples = ['<%= config.bin %> audit list', '<%= config.bin %> audit list --limit 20 --json']
  static override flags = {
    limit: Flags.string({helpValue: '<n>', description: 'at most so many (100)'}),
    before: Flags.string({helpValue: '<number>', description: 'only entries of a smaller number: the next page'}),
  }

  async run(): Promise<unknown> {
    const {flags} = await this.parse(AuditList)
    const query = {
      ...(flags.limit ? {limit: parseNumber('limit', flags.limit, {integer: true, min: 1})} : {}),
      ...(flags.before ? {before: parseNumber('before', flags.before, {integer: true})} : {}),
    }
    const client = await this.client()
    const {entries} = await client.call('audit.list', {query})
    return this.answer({entries}, async (paint) => (await import('../_support/render/platform.js')).renderAudit(entries, paint))
  }
}
