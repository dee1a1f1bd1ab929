import {BaseCommand} from '../_support/base-command.js'
import {instanceArgument, optionalArgument} from '../_support/flags.js'

export default class ConfigDiff extends BaseCommand {
  static override summary = 'Compare the parameters with another instance, a template, or the defaults'
  static override examples = ['<%= config.bin %> config diff demo', '<%= config.bin %> config diff demo template:oltp']
  static override args = {...instanceArgument, with: optionalArgument('an instance, template:NAME, or defaults (when not given)')}

  async run(): Promise<unknown> {
    const {args} = await this.parse(ConfigDiff)
    const client = await this.client()
    const query = args.with === undefined ? {} : {with: args.with}
    const {differences} = await client.call('configuration.diff', {params: {instance: args.name}, query})
    return this.answer({differences}, async (paint) => {
      const {renderDifferences} = await import('../_support/render/configuration.js')
      return renderDifferences(differences, args.name, args.with ?? 'defaults', paint)
    })
  }
}
