import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {instanceArgument} from './_support/flags.js'

export default class Status extends BaseCommand {
  static override summary = 'Show one database on one screen'
  static override description = 'Reported and wanted state of its nodes, endpoint, limits, and plainly what is not protected.'
  static override examples = ['<%= config.bin %> status demo', '<%= config.bin %> status demo --watch']
  static override args = instanceArgument
  static override flags = {
    watch: Flags.boolean({char: 'w', description: 'show it again every second, until Ctrl-C (--json: one object a line)'}),
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Status)
    const client = await this.client()
    const read = () => client.call('instances.get', {params: {instance: args.name}})
    if (flags.watch) {
      const {watch} = await import('./_support/watch.js')
      const {renderInstance} = await import('./_support/render/instance.js')
      return watch(read, ({instance}, paint) => renderInstance(instance, Date.now(), paint), this.jsonEnabled())
    }
    const {instance} = await read()
    return this.answer({instance}, async (paint) => {
      const {renderInstance} = await import('./_support/render/instance.js')
      return renderInstance(instance, Date.now(), paint)
    })
  }
}
