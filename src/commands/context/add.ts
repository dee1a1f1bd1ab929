import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {argument} from '../_support/flags.js'

export default class ContextAdd extends BaseCommand {
  static override summary = 'Name an agent, to talk to it with --context'
  static override description = 'A token is read from stdin, or taken from DBAAS_TOKEN at each use: on the command line everybody could read it.'
  static override examples = [
    '<%= config.bin %> context add office --url https://db.example.com:8443 --token-stdin < token.txt',
    '<%= config.bin %> context add other --socket /srv/dbaas/agent.sock',
  ]
  static override args = {name: argument('name of the context')}
  static override flags = {
    url: Flags.string({helpValue: '<url>', description: 'an agent on another machine', exclusive: ['socket']}),
    socket: Flags.string({helpValue: '<path>', description: 'another agent on this machine'}),
    'token-stdin': Flags.boolean({description: 'save the token that comes on stdin', dependsOn: ['url']}),
    'default-tenant': Flags.string({description: 'tenant to act in when none is named'}),
    replace: Flags.boolean({description: 'replace the context of that name'}),
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(ContextAdd)
    const [{homeOf}, {addContext}, {DbaasError}] = await Promise.all([
      import('../../agent/client/locate.js'), import('../../agent/client/contexts.js'), import('../../core/errors.js'),
    ])
    if (flags.url === undefined && flags.socket === undefined) {
      throw new DbaasError('USAGE', 'where is the agent?', {suggestions: [`dbaas context add ${args.name} --url https://host:port`]})
    }
    const token = flags['token-stdin'] ? (await (await import('../_support/files.js')).readStdin()).trim() : ''
    const target = flags.url === undefined ? {socketPath: flags.socket as string} : {url: flags.url, ...(token === '' ? {} : {token})}
    const tenant = flags['default-tenant']
    addContext(homeOf(), args.name, {...target, ...(tenant === undefined ? {} : {tenant})}, {replace: flags.replace})
    return this.answer({context: {name: args.name}}, (paint) => `${paint.green('✓')} context ${args.name} added\n  ${paint.cyan('→')} dbaas context use ${args.name}\n`)
  }
}
