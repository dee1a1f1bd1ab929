import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {instanceArgument} from './_support/flags.js'

export default class Connect extends BaseCommand {
  static override enableJsonFlag = false
  static override strict = false
  static override summary = "Open the engine's own client where it is installed, else a built-in prompt"
  static override description = `psql for PostgreSQL, mysql or mariadb for MySQL and MariaDB; what follows -- goes to it as it is. The built-in
prompt needs no client: \\? lists its commands, \\q quits.`
  static override usage = 'connect NAME [--built-in] [-- ARGS]'
  static override examples = ['<%= config.bin %> connect demo', '<%= config.bin %> connect demo -- -c "select now()"']
  static override args = instanceArgument
  static override flags = {'built-in': Flags.boolean({description: 'the built-in prompt even where a client is installed'})}

  async run(): Promise<void> {
    const {splitArguments} = await import('./_support/arguments.js')
    const {own, rest} = splitArguments(this.argv)
    const {args, flags} = await this.parse({...Connect, strict: true} as typeof Connect, own)
    const [client, location] = [await this.client(), await this.location()]
    const {instance} = await client.call('instances.get', {params: {instance: args.name}})
    const prompt = await (await import('../engines/prompts.js')).promptOf(instance.engine, instance.name)
    const {findClient, runClient} = await import('./_support/native-client.js')
    const program = flags['built-in'] ? undefined : await findClient(prompt)
    if (program !== undefined) {
      const {readCredentials} = await import('./_support/credentials.js')
      const {credentials, route} = await readCredentials(client, location, instance.id)
      process.exitCode = await runClient(program, prompt, credentials, route, rest)
      return
    }
    if (rest.length > 0) {
      const {DbaasError} = await import('../core/errors.js')
      throw new DbaasError('NOT_SUPPORTED', `what follows -- is for ${prompt.client.programs[0]}, and the built-in prompt takes no arguments`, {
        suggestions: [`install ${prompt.client.package}`, `dbaas sql ${args.name} "select 1"`],
      })
    }
    const {runPrompt} = await import('./_support/prompt/prompt.js')
    process.exitCode = await runPrompt(client, location, instance, prompt)
  }
}
