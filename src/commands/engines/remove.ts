import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {argument, operationFlags, optionalArgument} from '../_support/flags.js'

export default class EnginesRemove extends BaseCommand {
  static override summary = 'Remove an installed version that no instance uses'
  static override examples = ['<%= config.bin %> engines remove postgresql 17', '<%= config.bin %> engines remove postgresql@16.14 --plan']
  static override args = {engine: argument('engine, or engine@version'), version: optionalArgument('version, or the beginning of one')}
  static override flags = {
    version: Flags.string({description: 'the same as the second argument'}),
    runtime: Flags.string({description: 'the runtime to remove it from, where several have it'}),
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(EnginesRemove)
    const {engineVersion} = await import('../_support/engine-version.js')
    const {engine, version} = engineVersion(args.engine, args.version, flags.version, 'remove')
    const client = await this.client()
    const {mutate} = await import('../_support/follow.js')
    const result = await mutate(client, 'engines.remove', {params: {engine, version}, query: {...(flags.plan ? {plan: true} : {}), ...(flags.runtime === undefined ? {} : {runtime: flags.runtime})}}, flags)
    return this.answer(result, async (paint) => {
      const {doneLine, renderMutation} = await import('../_support/render/operation.js')
      return renderMutation(result, paint, (_, operation) => doneLine(`${engine} ${version} removed`, operation, paint))
    })
  }
}
