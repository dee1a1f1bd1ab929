import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {parseNumber} from '../_support/flags.js'

export default class OperationsList extends BaseCommand {
  static override summary = 'List operations, newest first'
  static override examples = ['<%= config.bin %> operations list', '<%= config.bin %> operations list --instance demo --status failed']
  static override flags = {
    instance: Flags.string({description: 'only of this instance'}),
    status: Flags.string({description: 'pending, running, succeeded, failed or cancelled'}),
    limit: Flags.string({helpValue: '<n>', description: 'at most so many (100)'}),
  }

  async run(): Promise<unknown> {
    const {flags} = await this.parse(OperationsList)
    const query = {
      ...(flags.instance ? {instance: flags.instance} : {}),
      ...(flags.status ? {status: flags.status} : {}),
      ...(flags.limit ? {limit: parseNumber('limit', flags.limit, {integer: true, min: 1})} : {}),
    }
    const client = await this.client()
    const {operations} = await client.call('operations.list', {query})
    return this.answer({operations}, async (paint) => (await import('../_support/render/operation.js')).renderOperations(operations, Date.now(), paint))
  }
}
