import {BaseCommand} from '../_support/base-command.js'
import {argument, operationFlags} from '../_support/flags.js'

export default class OperationsCancel extends BaseCommand {
  static override summary = 'Cancel an operation and undo what it did'
  static override examples = ['<%= config.bin %> operations cancel op_01…', '<%= config.bin %> operations cancel op_01… --no-wait']
  static override args = {operation: argument('id of the operation')}
  static override flags = {wait: operationFlags.wait, timeout: operationFlags.timeout}

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(OperationsCancel)
    const client = await this.client()
    const {waitForEnd} = await import('../_support/follow.js')
    const started = await client.call('operations.cancel', {params: {operation: args.operation}, idempotencyKey: crypto.randomUUID()})
    const operation = flags.wait ? await waitForEnd(client, started.operation, flags.timeout) : started.operation
    return this.answer({operation}, async (paint) =>
      (await import('../_support/render/operation.js')).renderOperation(operation, Date.now(), paint))
  }
}
