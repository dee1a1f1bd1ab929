import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {parseNumber} from '../_support/flags.js'

export default class RequestsList extends BaseCommand {
  static override summary = 'List the requests that the API answered, newest first'
  static override examples = ['<%= config.bin %> requests list', '<%= config.bin %> requests list --limit 20 --json']
  static override flags = {limit: Flags.string({helpValue: '<n>', description: 'at most so many (100)'})}

  async run(): Promise<unknown> {
    const {flags} = await this.parse(RequestsList)
    const query = flags.limit ? {limit: parseNumber('limit', flags.limit, {integer: true, min: 1})} : {}
    const client = await this.client()
    const {requests} = await client.call('requests.list', {query})
    return this.answer({requests}, async (paint) => (await import('../_support/render/platform.js')).renderRequests(requests, paint))
  }
}
