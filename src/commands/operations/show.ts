import {BaseCommand} from '../_support/base-command.js'
import {argument} from '../_support/flags.js'

export default class OperationsShow extends BaseCommand {
  static override summary = 'Show one operation with its steps'
  static override examples = ['<%= config.bin %> operations show op_01…', '<%= config.bin %> operations show op_01… --json']
  static override args = {operation: argument('id of the operation')}

  async run(): Promise<unknown> {
    const {args} = await this.parse(OperationsShow)
    const client = await this.client()
    const {operation} = await client.call('operations.get', {params: {operation: args.operation}})
    return this.answer({operation}, async (paint) => (await import('../_support/render/operation.js')).renderOperation(operation, Date.now(), paint))
  }
}
