import {BaseCommand} from '../_support/base-command.js'
import {argument} from '../_support/flags.js'

export default class RepositoriesCheck extends BaseCommand {
  static override summary = 'Whether a repository answers, and can do what it must'
  static override examples = ['<%= config.bin %> repositories check local', '<%= config.bin %> repositories check local --json']
  static override args = {repository: argument('name of the repository')}

  async run(): Promise<unknown> {
    const {args} = await this.parse(RepositoriesCheck)
    const client = await this.client()
    const {repository} = await client.call('repositories.check', {params: {repository: args.repository}, idempotencyKey: crypto.randomUUID()})
    return this.answer({repository}, async (paint) =>
      `${paint.green('✓')} ${repository.name} can be used\n${(await import('../_support/render/backups.js')).renderRepository(repository, paint)}`)
  }
}
