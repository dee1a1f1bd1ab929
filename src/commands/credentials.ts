import {BaseCommand} from './_support/base-command.js'
import {instanceArgument} from './_support/flags.js'

export default class Credentials extends BaseCommand {
  static override summary = 'Print how to connect, field by field, with the password'
  static override examples = ['<%= config.bin %> credentials demo', '<%= config.bin %> credentials demo --json']
  static override args = instanceArgument

  async run(): Promise<unknown> {
    const {args} = await this.parse(Credentials)
    const [client, location] = [await this.client(), await this.location()]
    const {readCredentials} = await import('./_support/credentials.js')
    const {credentials, route: {caFile}} = await readCredentials(client, location, args.name)
    return this.answer({credentials: {...credentials, ca_file: caFile}}, async (paint) => {
      const {renderDetails} = await import('./_support/render/details.js')
      return renderDetails([
        ['host', credentials.host],
        ['port', String(credentials.port)],
        ['database', credentials.database],
        ['username', credentials.username],
        ['password', credentials.password],
        ['CA file', caFile],
        ['server name', credentials.tls_server_name],
        ['direct', credentials.direct.map(({host, port}) => `${host}:${port}`).join(', ')],
      ], paint, '')
    })
  }
}
