import * as Args from '@oclif/core/args'
import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {instanceArgument, operationFlags} from './_support/flags.js'

export default class Clone extends BaseCommand {
  static override summary = 'Copy a database, as of any second that is kept'
  static override description = 'The copy is a database of its own that can be written to; the first one does not notice. On a file system with reflinks (XFS, Btrfs) a copy of now is made at once and takes no room; else, and of the past, it is made from the backup and the log. The result says which.'
  static override examples = ['<%= config.bin %> clone demo demo-copy', '<%= config.bin %> clone demo demo-then --at -1h']
  static override args = {...instanceArgument, new: Args.string({description: 'name of the copy', required: true})}
  static override flags = {
    at: Flags.string({helpValue: '<time>', description: 'as of that moment: a time, or ago (-10m); by default as of now'}),
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Clone)
    const client = await this.client()
    const {mutate} = await import('./_support/follow.js')
    const result = await mutate(client, 'instances.clone', {
      params: {instance: args.name}, body: {name: args.new, ...(flags.at === undefined ? {} : {at: flags.at}), ...(flags.plan ? {plan: true} : {})},
    }, flags)
    return this.answer(result, async (paint) => {
      const {renderRestored} = await import('./_support/render/restored.js')
      return renderRestored(result, args.new, paint)
    })
  }
}
