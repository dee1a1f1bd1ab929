import * as Args from '@oclif/core/args'
import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {instanceArgument, operationFlags, parseAssignments} from '../_support/flags.js'

export default class ConfigSet extends BaseCommand {
  static override summary = 'Change parameters, by reload or restart as the server needs'
  static override description = 'Checked against the very version first; a change that fails is rolled back. Where a restart is needed, a database with replicas is restarted server by server.'
  static override examples = [
    '<%= config.bin %> config set demo work_mem=64MB random_page_cost=1.1',
    '<%= config.bin %> config set demo --template analytics --plan',
  ]
  static override args = {
    ...instanceArgument,
    assignments: Args.string({multiple: true, ignoreStdin: true, description: 'NAME=VALUE, as many as there are'}),
  }
  static override flags = {
    template: Flags.string({description: 'apply this configuration template, too'}),
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(ConfigSet)
    const {DbaasError} = await import('../../core/errors.js')
    const given = [args.assignments ?? []].flat()
    // `config set demo work_mem 64MB` is how SET is written elsewhere.
    const pairs = given.length === 2 && given.every((word) => !word.includes('=')) ? [given.join('=')] : given
    const set = parseAssignments(pairs)
    if (pairs.length === 0 && flags.template === undefined) {
      throw new DbaasError('USAGE', 'nothing to set', {suggestions: [`dbaas config set ${args.name} work_mem=64MB`]})
    }
    const body = {...(pairs.length > 0 ? {set} : {}), ...(flags.template ? {template: flags.template} : {}), ...(flags.plan ? {plan: true} : {})}
    const client = await this.client()
    const {mutate} = await import('../_support/follow.js')
    const result = await mutate(client, 'configuration.update', {params: {instance: args.name}, body}, flags)
    return this.answer(result, async (paint) => {
      const {doneLine, gapLine, renderMutation} = await import('../_support/render/operation.js')
      const said = [...Object.entries(set).map(([name, value]) => `${name} = ${value}`), ...(flags.template ? [`template ${flags.template}`] : [])]
      return renderMutation(result, paint, (instance, operation) => doneLine(`${instance?.name ?? args.name}: ${said.join(', ')}`, operation, paint) + gapLine(operation, paint))
    })
  }
}
