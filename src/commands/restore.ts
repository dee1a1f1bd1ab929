import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {instanceArgument, operationFlags} from './_support/flags.js'

export default class Restore extends BaseCommand {
  static override summary = 'Restore a database to a moment'
  static override description = `In place, name and endpoint stay: the new server is made and proven beside the old one, then they change places, and
the old state is kept as NAME-before-<time> (--undo goes back to it; dbaas delete removes it). With --into NEW nothing of
the database is touched. --plan proves that everything is there, and says where it would end and how long it would take.`
  static override examples = [
    '<%= config.bin %> restore demo --to -10m --plan', '<%= config.bin %> restore demo --to 2026-11-23T17:22:00Z --into demo-yesterday',
    '<%= config.bin %> restore demo --to before-migration', '<%= config.bin %> restore demo --undo',
  ]
  static override args = instanceArgument
  static override flags = {
    to: Flags.string({helpValue: '<target>', description: 'latest (the default), a time (ISO 8601, or -10m), an LSN, the number of a transaction, a named point, or a backup (id or label)'}),
    into: Flags.string({helpValue: '<name>', description: 'a new instance; or one that is there, whose state is kept beside'}),
    undo: Flags.boolean({description: 'back to the state before the last restore in place', exclusive: ['to', 'into']}),
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Restore)
    const client = await this.client()
    const {mutate} = await import('./_support/follow.js')
    const params = {instance: args.name}
    const plan = flags.plan ? {plan: true} : {}
    const result = flags.undo ? await mutate(client, 'instances.undo', {params, body: plan}, flags)
      : await mutate(client, 'instances.restore', {
        params, body: {...(flags.to === undefined ? {} : {to: flags.to}), ...(flags.into === undefined ? {} : {into: flags.into}), ...plan},
      }, flags)
    return this.answer(result, async (paint) => {
      const {renderRestored} = await import('./_support/render/restored.js')
      return renderRestored(result, args.name, paint)
    })
  }
}
