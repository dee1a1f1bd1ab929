import {BaseCommand} from '../_support/base-command.js'
import {argument, yesFlag} from '../_support/flags.js'

export default class RepositoriesRemove extends BaseCommand {
  static override summary = 'Forget a repository that no instance keeps backups in'
  static override description = `What is in it stays. A copy is no longer kept up to date; added once more with --copy-of it goes on where it was.`
  static override examples = ['<%= config.bin %> repositories remove offsite', '<%= config.bin %> repositories remove offsite --yes']
  static override args = {repository: argument('name of the repository')}
  static override flags = {...yesFlag}

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(RepositoriesRemove)
    const {confirm} = await import('../_support/confirm.js')
    await confirm({name: args.repository, deed: `forget the repository ${args.repository}`, yes: flags.yes, command: `dbaas repositories remove ${args.repository}`})
    const client = await this.client()
    const answer = await client.call('repositories.remove', {params: {repository: args.repository}, idempotencyKey: crypto.randomUUID()})
    return this.answer(answer, (paint) => `${paint.green('✓')} repository ${args.repository} is forgotten; what is in it stays\n`)
  }
}
