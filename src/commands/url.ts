import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {instanceArgument} from './_support/flags.js'
import type {ConnectionFormat} from '../engines/prompt.js'

export default class Url extends BaseCommand {
  static override summary = 'Print the connection string, with its password'
  static override description = `Through the stable endpoint, which follows the primary; --read-only through the one that leads to a healthy replica, where
there are replicas; --direct names all servers, and the client finds the primary by itself (target_session_attrs).`
  static override examples = ['<%= config.bin %> url demo', '<%= config.bin %> url demo --read-only', '<%= config.bin %> url demo --direct', 'eval "$(<%= config.bin %> url demo --format env)"']
  static override args = instanceArgument
  static override flags = {
    format: Flags.string({options: ['uri', 'jdbc', 'env', 'libpq'], default: 'uri', description: 'form of the connection string'}),
    direct: Flags.boolean({description: 'to the servers themselves, not through the stable endpoint'}),
    'read-only': Flags.boolean({description: 'sessions that refuse to write, on a replica where there is one'}),
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
