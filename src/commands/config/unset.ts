import * as Args from '@oclif/core/args'
import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {instanceArgument, operationFlags} from '../_support/flags.js'

export default class ConfigUnset extends BaseCommand {
  static override summary = 'Give parameters back to their template, size or default'
  static override examples = ['<%= config.bin %> config unset demo work_mem', '<%= config.bin %> config unset demo --template --plan']
  static override args = {
    ...instanceArgument,
    parameters: Args.string({multiple: true, ignoreStdin: true, description: 'names of parameters'}),
  }
  static override flags = {
    template: Flags.boolean({description: 'take the configuration template off, too'}),
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(ConfigUnset)
    const {DbaasError} = await import('../../core/errors.js')
    const unset = [args.parameters ?? []].flat()
    if (unset.length === 0 && !flags.template) {
      throw new DbaasError('USAGE', 'nothing to unset', {suggestions: [`dbaas config unset ${args.name} work_mem`, `dbaas config show ${args.name}`]})
    }
    const body = {...(unset.length > 0 ? {unset} : {}), ...(flags.template ? {template: null} : {}), ...(flags.plan ? {plan: true} : {})}
    const client = await this.client()
    const {mutate} = await import('../_support/follow.js')
    const result = await mutate(client, 'configuration.update', {params: {instance: args.name}, body}, flags)
    return this.answer(result, async (paint) => {
      const {doneLine, gapLine, renderMutation} = await import('../_support/render/operation.js')
      const said = [...unset, ...(flags.template ? ['the template'] : [])].join(', ')
      return renderMutation(result, paint, (instance, operation) => doneLine(`${instance?.name ?? args.name}: ${said} unset`, operation, paint) + gapLine(operation, paint))
    })
  }
}
