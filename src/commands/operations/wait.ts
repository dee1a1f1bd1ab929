import {BaseCommand} from '../_support/base-command.js'
import {argument, operationFlags} from '../_support/flags.js'

export default class OperationsWait extends BaseCommand {
  static override summary = 'Wait until an operation has ended'
  static override description = 'Exits as the operation ended: 0, or the code of its error. Ctrl-C and --timeout stop the waiting only.'
  static override examples = ['<%= config.bin %> operations wait op_01…', '<%= config.bin %> operations wait op_01… --timeout 90s']
  static override args = {operation: argument('id of the operation')}
  static override flags = {timeout: operationFlags.timeout}

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(OperationsWait)
    const client = await this.client()
    const {waitFor} = await import('../_support/follow.js')
    const found = await client.call('operations.get', {params: {operation: args.operation}})
    const operation = await waitFor(client, found.operation, flags.timeout)
    return this.answer({operation}, async (paint) =>
      (await import('../_support/render/operation.js')).doneLine(`${operation.kind} ${operation.status}`, operation, paint))
  }
}
