import {BaseCommand} from '../../_support/base-command.js'
import {argument, engineFlag, yesFlag} from '../../_support/flags.js'

export default class ConfigTemplatesDelete extends BaseCommand {
  static override summary = 'Delete a template of your own'
  static override examples = ['<%= config.bin %> config templates delete batch', '<%= config.bin %> config templates delete batch --yes']
  static override args = {template: argument('name of the template')}
  static override flags = {...engineFlag, ...yesFlag}

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(ConfigTemplatesDelete)
    const {confirm} = await import('../../_support/confirm.js')
    await confirm({
      name: args.template, deed: `delete the template ${args.template}`, yes: flags.yes,
      command: `dbaas config templates delete ${args.template}`,
    })
    const client = await this.client()
    const params = {engine: flags.engine, template: args.template}
    const answer = await client.call('templates.delete', {params, idempotencyKey: crypto.randomUUID()})
    return this.answer(answer, (paint) => `${paint.green('✓')} template ${args.template} deleted\n`)
  }
}
