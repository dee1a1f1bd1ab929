import {BaseCommand} from '../_support/base-command.js'
import {argument, planFlag} from '../_support/flags.js'
import {bucketFlags} from '../_support/repository-flags.js'

export default class RepositoriesUpdate extends BaseCommand {
  static override summary = 'Change how a repository is reached'
  static override description = `New credentials, another address of the same bucket. It is asked first, and must be the same repository; else nothing is changed.`
  static override examples = [
    '<%= config.bin %> repositories update cloud --credentials ~/.aws/credentials --profile backups',
    '<%= config.bin %> repositories update ceph --endpoint https://ceph2.example.org:7480',
  ]
  static override args = {repository: argument('name of the repository')}
  static override flags = {...bucketFlags, ...planFlag}

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(RepositoriesUpdate)
    const {settingsOf} = await import('../_support/repository-request.js')
    const settings = await settingsOf(flags, {})
    if (Object.keys(settings).length === 0) {
      const {DbaasError} = await import('../../core/errors.js')
      throw new DbaasError('USAGE', 'nothing to change was named', {suggestions: [`dbaas repositories update ${args.repository} --credentials FILE`, 'dbaas repositories update --help']})
    }
    const client = await this.client()
    const answer = await client.call('repositories.update', {
      params: {repository: args.repository}, body: {settings, ...(flags.plan ? {plan: true} : {})}, idempotencyKey: crypto.randomUUID(),
    })
    return this.answer(answer, async (paint) => {
      if ('plan' in answer) return (await import('../_support/render/operation.js')).renderPlan(answer.plan, paint)
      return `${paint.green('✓')} repository ${answer.repository.name} changed\n${(await import('../_support/render/backups.js')).renderRepository(answer.repository, paint)}`
    })
  }
}
