import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {argument, operationFlags, optionalArgument} from '../_support/flags.js'

export default class EnginesInstall extends BaseCommand {
  static override summary = 'Install a version from the npm registry, its integrity checked'
  static override examples = ['<%= config.bin %> engines install postgresql 17', '<%= config.bin %> engines install postgresql@16.14 --plan']
  static override args = {engine: argument('engine, or engine@version'), version: optionalArgument('version, or the beginning of one')}
  static override flags = {version: Flags.string({description: 'the same as the second argument'}), ...operationFlags}

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(EnginesInstall)
    const {engineVersion} = await import('../_support/engine-version.js')
    const {engine, version} = engineVersion(args.engine, args.version, flags.version, 'install')
    const client = await this.client()
    const {mutate} = await import('../_support/follow.js')
    const result = await mutate(client, 'engines.install', {params: {engine}, body: {version, ...(flags.plan ? {plan: true} : {})}}, flags)
    return this.answer(result, async (paint) => {
      const {doneLine, renderMutation} = await import('../_support/render/operation.js')
      return renderMutation(result, paint, (_, operation) => doneLine(`${engine} ${version} installed`, operation, paint))
    })
  }
}
