import {BaseCommand} from '../_support/base-command.js'

export default class RepositoriesList extends BaseCommand {
  static override summary = 'List where backups are kept'
  static override examples = ['<%= config.bin %> repositories list', '<%= config.bin %> repositories list --json']

  async run(): Promise<unknown> {
    await this.parse(RepositoriesList)
    const client = await this.client()
    const {repositories} = await client.call('repositories.list', {})
    return this.answer({repositories}, async (paint) => (await import('../_support/render/backups.js')).renderRepositories(repositories, paint))
  }
}
