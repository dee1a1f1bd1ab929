import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {instanceArgument} from './_support/flags.js'

export default class Connect extends BaseCommand {
  static override enableJsonFlag = false
  static override strict = false
  static override summary = 'Open psql when it is installed, else a built-in prompt'
  static override description = 'What follows -- goes to psql as it is. The built-in prompt knows \\d, \\l, \\du, \\? and \\q, and needs no client.'
  static override usage = 'connect NAME [--built-in] [-- ARGS]'
  static override examples = ['<%= config.bin %> connect demo', '<%= config.bin %> connect demo -- -c "select now()"']
  static override args = instanceArgument
  static override flags = {'built-in': Flags.boolean({description: 'the built-in prompt even where psql is installed'})}

  async run(): Promise<void> {
    const end = this.argv.indexOf('--')
    const own = end === -1 ? this.argv : this.argv.slice(0, end)
    const rest = end === -1 ? [] : this.argv.slice(end + 1)
    const {args, flags} = await this.parse({...Connect, strict: true} as typeof Connect, own)
    const {findProgram} = await import('./_support/programs.js')
    const psql = flags['built-in'] ? undefined : await findProgram('psql')
    const [client, location] = [await this.client(), await this.location()]
    if (psql !== undefined) {
      const [{readCredentials}, {libpqEnvironment}, {passThrough}] = await Promise.all([
        import('./_support/credentials.js'), import('./_support/render/connection.js'), import('./_support/pass-through.js'),
      ])
      const {credentials, caFile} = await readCredentials(client, location, args.name)
      process.exitCode = await passThrough(psql, rest, {...process.env, ...libpqEnvironment(credentials, {caFile})})
      return
    }
    if (rest.length > 0) {
      const {DbaasError} = await import('../core/errors.js')
      throw new DbaasError('NOT_SUPPORTED', 'what follows -- is for psql, and the built-in prompt takes no arguments', {
        suggestions: ['install postgresql-client', `dbaas sql ${args.name} "select 1"`],
      })
    }
    const {runPrompt} = await import('./_support/prompt/prompt.js')
    process.exitCode = await runPrompt(client, location, args.name)
  }
}
