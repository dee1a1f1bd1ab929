import {BaseCommand} from '../_support/base-command.js'
import {argument, planFlag} from '../_support/flags.js'

export default class RepositoriesPromote extends BaseCommand {
  static override summary = 'Make a copy take the place of its original, which is lost'
  static override description = `Everything that was kept in the original is restored from the copy from then on, and new backups are kept there. Backups that
had not been copied yet are said to be damaged. Refused while the original answers.`
  static override examples = ['<%= config.bin %> repositories promote offsite --plan', '<%= config.bin %> repositories promote offsite']
  static override args = {repository: argument('name of the copy')}
  static override flags = planFlag

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(RepositoriesPromote)
    const client = await this.client()
    const answer = await client.call('repositories.promote', {
      params: {repository: args.repository}, body: flags.plan ? {plan: true} : {}, idempotencyKey: crypto.randomUUID(),
    })
    return this.answer(answer, async (paint) => {
      if ('plan' in answer) return (await import('../_support/render/operation.js')).renderPlan(answer.plan, paint)
      const {repository, backups_lost: lost} = answer
      const loss = lost === 0 ? '' : `  ${paint.yellow('!')} ${lost} ${lost === 1 ? 'backup' : 'backups'} had not been copied yet: take another (dbaas backup NAME)\n`
      return `${paint.green('✓')} ${repository.name} is a repository of its own\n${loss}${(await import('../_support/render/backups.js')).renderRepository(repository, paint)}`
    })
  }
}
