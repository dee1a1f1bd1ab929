import * as Args from '@oclif/core/args'
import {BaseCommand} from '../_support/base-command.js'
import {instanceArgument} from '../_support/flags.js'

export default class BackupsPoint extends BaseCommand {
  static override summary = 'Name this moment, so that a restore can go to it'
  static override description = 'It takes no time and no room: the name is written into the log. It can be restored to as long as the log of that moment is kept.'
  static override examples = ['<%= config.bin %> backups point demo before-migration', '<%= config.bin %> restore demo --to before-migration']
  static override args = {...instanceArgument, point: Args.string({description: 'a name for it', required: true})}

  async run(): Promise<unknown> {
    const {args} = await this.parse(BackupsPoint)
    const client = await this.client()
    const answer = await client.call('points.create', {params: {instance: args.name}, body: {name: args.point}, idempotencyKey: crypto.randomUUID()})
    return this.answer(answer, (paint) =>
      `${paint.green('✓')} ${answer.point.name} is ${answer.point.position} of ${args.name}\n  ${paint.cyan('→')} dbaas restore ${args.name} --to ${answer.point.name}\n`)
  }
}
