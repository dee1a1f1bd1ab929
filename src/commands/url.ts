import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {instanceArgument} from './_support/flags.js'
import type {ConnectionFormat} from './_support/render/connection.js'

export default class Url extends BaseCommand {
  static override summary = 'Print the connection string, with its password'
  static override examples = ['<%= config.bin %> url demo', 'eval "$(<%= config.bin %> url demo --format env)"']
  static override args = instanceArgument
  static override flags = {
    format: Flags.string({options: ['uri', 'jdbc', 'env', 'libpq'], default: 'uri', description: 'form of the connection string'}),
    direct: Flags.boolean({description: 'to the server itself, not through the stable endpoint'}),
    'read-only': Flags.boolean({description: 'sessions that refuse to write'}),
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Url)
    const [client, location] = [await this.client(), await this.location()]
    const [{readCredentials}, {connectionFormats}] = await Promise.all([import('./_support/credentials.js'), import('./_support/render/connection.js')])
    const {credentials, caFile} = await readCredentials(client, location, args.name)
    const url = connectionFormats[flags.format as ConnectionFormat](credentials, {direct: flags.direct, readOnly: flags['read-only'], caFile})
    return this.answer({url}, () => `${url}\n`)
  }
}
