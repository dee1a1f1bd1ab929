import {BaseCommand} from '../_support/base-command.js'
import {argument} from '../_support/flags.js'

export default class OperationsFollow extends BaseCommand {
  static override summary = 'Follow an operation live until it has ended'
  static override description = 'With --json: one object a line, each time it changes. Exits 0 when the operation has ended, however it ended.'
  static override examples = ['<%= config.bin %> operations follow op_01…', '<%= config.bin %> operations follow op_01… --json']
  static override args = {operation: argument('id of the operation')}

  async run(): Promise<void> {
    const {args} = await this.parse(OperationsFollow)
    const client = await this.client()
    const [{operation: found}, {paintFor}, {renderOperation}, {openProgress}] = await Promise.all([
      client.call('operations.get', {params: {operation: args.operation}}),
      import('../_support/render/paint.js'), import('../_support/render/operation.js'), import('../_support/progress.js'),
    ])
    const json = this.jsonEnabled()
    const progress = json ? undefined : await openProgress(process.stderr)
    let last = found
    const show = (operation: typeof found) => {
      last = operation
      if (json) process.stdout.write(`${JSON.stringify({operation})}\n`)
      progress?.update(operation)
    }
    try {
      if (found.ended_at !== null) show(found)
      else await client.follow(found.id, show, new AbortController().signal)
    } finally {
      progress?.close()
    }
    if (!json) process.stdout.write(renderOperation(last, Date.now(), await paintFor(process.stdout)))
  }
}
