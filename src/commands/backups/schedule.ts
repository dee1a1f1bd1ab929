import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {instanceArgument, planFlag} from '../_support/flags.js'

export default class BackupsSchedule extends BaseCommand {
  static override summary = 'Show or change when backups are taken, and how long they are kept'
  static override description = `--keep is a window: at any time the database can be restored to any moment of it. Schedules are cron expressions in
UTC (five fields, or @hourly, @daily, @weekly, @monthly). What was missed while the agent was down is caught up once.`
  static override examples = [
    '<%= config.bin %> backups schedule demo',
    '<%= config.bin %> backups schedule demo --cron "30 2 * * *" --keep 7d',
    '<%= config.bin %> backups schedule demo --off',
  ]
  static override args = instanceArgument
  static override flags = {
    cron: Flags.string({helpValue: '<expression>', description: 'when: minute hour day month weekday, in UTC'}),
    keep: Flags.string({helpValue: '<duration|none>', description: 'how far back it can be restored'}),
    'keep-last': Flags.string({helpValue: '<number|none>', description: 'keep at least so many, whatever their age'}),
    type: Flags.string({options: ['full', 'incremental'], description: 'whether everything is read, or what changed'}),
    jitter: Flags.string({helpValue: '<duration>', description: 'begin up to so much later, so that not all begin at once'}),
    repository: Flags.string({description: 'keep them there (dbaas repositories list); refused while there are some elsewhere'}),
    on: Flags.boolean({description: 'take backups', exclusive: ['off']}),
    off: Flags.boolean({description: 'take no more: the database is not protected then'}),
    ...planFlag,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(BackupsSchedule)
    const client = await this.client()
    const {scheduleBody} = await import('../_support/schedule-request.js')
    const body = scheduleBody(flags)
    const params = {instance: args.name}
    const answer = body === undefined ? await client.call('schedules.get', {params}) : await client.call('schedules.set', {params, body, idempotencyKey: crypto.randomUUID()})
    return this.answer(answer, async (paint) => {
      if ('plan' in answer) return (await import('../_support/render/operation.js')).renderPlan(answer.plan, paint)
      return (await import('../_support/render/backups.js')).renderSchedule(args.name, answer.schedule, Date.now(), paint)
    })
  }
}
