import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'

export default class List extends BaseCommand {
  static override summary = 'List the databases, one line each'
  static override examples = ['<%= config.bin %> list', '<%= config.bin %> list --status running --json']
  static override flags = {
    engine: Flags.string({description: 'only of this engine'}),
    status: Flags.string({description: 'only in this status: running, stopped, failed, …'}),
  }

  async run(): Promise<unknown> {
    const {flags} = await this.parse(List)
    const client = await this.client()
    const query = {...(flags.engine ? {engine: flags.engine} : {}), ...(flags.status ? {status: flags.status} : {})}
    const {instances} = await client.call('instances.list', {query})
    return this.answer({instances}, async (paint) => {
      const {renderList} = await import('./_support/render/instance.js')
      const filtered = Object.keys(query).length > 0
      return instances.length === 0 && filtered ? 'No instance matches.\n' : renderList(instances, Date.now(), paint)
    })
  }
}
