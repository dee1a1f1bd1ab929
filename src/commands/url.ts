import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {instanceArgument} from './_support/flags.js'
import type {ConnectionFormat} from '../engines/prompt.js'

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
    const [{readCredentials}, {connectionString}, {promptOf}] = await Promise.all([
      import('./_support/credentials.js'), import('./_support/render/connection.js'), import('../engines/prompts.js'),
    ])
    const {credentials, route} = await readCredentials(client, location, args.name)
    const prompt = await promptOf(credentials.engine, args.name)
    const url = await connectionString(flags.format as ConnectionFormat, prompt, credentials, {...route, direct: flags.direct, readOnly: flags['read-only']})
    return this.answer({url}, () => `${url}\n`)
  }
}
