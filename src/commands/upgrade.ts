import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {instanceArgument, needlessYesFlag, operationFlags} from './_support/flags.js'

export default class Upgrade extends BaseCommand {
  static override summary = 'Change the version of a database'
  static override description = `A minor version (18.3 to 18.4) goes by one restart with new connections held; the old programs run again where the new ones do not start. A major
one (15 to 18) goes by a copy: the new server is made beside the old one, then clients wait while everything is copied and compared, then the two change
places. Name, endpoint and password stay; the old state is kept as NAME-before-<time> (--undo goes back to it; dbaas delete removes it). Whatever fails
before that moment leaves the old one as it was. --plan says which way it would be, what stands in it, and how long clients would wait.`
  static override examples = [
    '<%= config.bin %> upgrade demo --version 18.4', '<%= config.bin %> upgrade demo --version 18 --plan', '<%= config.bin %> upgrade demo --undo',
  ]
  static override args = instanceArgument
  static override flags = {
    version: Flags.string({helpValue: '<version>', description: 'the version, or the beginning of one: 18', exactlyOne: ['version', 'undo']}),
    image: Flags.string({helpValue: '<image>', description: 'the image to run from now on (--runtime docker)', dependsOn: ['version']}),
    undo: Flags.boolean({description: 'back to the version before the last upgrade; after a major one, to the data of then', exactlyOne: ['version', 'undo']}),
    ...needlessYesFlag,
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Upgrade)
    const client = await this.client()
    const {mutate} = await import('./_support/follow.js')
    const params = {instance: args.name}
    const plan = flags.plan ? {plan: true} : {}
    const result = flags.version === undefined ? await mutate(client, 'instances.undo_upgrade', {params, body: plan}, flags)
      : await mutate(client, 'instances.upgrade', {params, body: {version: flags.version, ...(flags.image === undefined ? {} : {image: flags.image}), ...plan}}, flags)
    return this.answer(result, async (paint) => {
      const {renderUpgraded} = await import('./_support/render/upgraded.js')
      return renderUpgraded(result, args.name, paint)
    })
  }
}
