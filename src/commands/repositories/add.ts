import {resolve} from 'node:path'
import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {argument, planFlag} from '../_support/flags.js'

export default class RepositoriesAdd extends BaseCommand {
  static override summary = 'Add a place to keep backups in'
  static override description = 'A folder, made if absent: on a disk of its own, or one that is mounted from elsewhere. It needs a file system with hard links.'
  static override examples = ['<%= config.bin %> repositories add nas /mnt/nas/dbaas', '<%= config.bin %> repositories add second /data2/backups --plan']
  static override args = {repository: argument('a name for it'), location: argument('path of the folder')}
  static override flags = {kind: Flags.string({default: 'directory', options: ['directory'], description: 'what it is'}), ...planFlag}

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(RepositoriesAdd)
    const client = await this.client()
    const {local} = await this.location()
    const body = {name: args.repository, kind: flags.kind, location: local ? resolve(args.location) : args.location, ...(flags.plan ? {plan: true} : {})}
    const answer = await client.call('repositories.add', {body, idempotencyKey: crypto.randomUUID()})
    return this.answer(answer, async (paint) => {
      if ('plan' in answer) return (await import('../_support/render/operation.js')).renderPlan(answer.plan, paint)
      return `${paint.green('✓')} repository ${answer.repository.name} added\n${(await import('../_support/render/backups.js')).renderRepository(answer.repository, paint)}`
    })
  }
}
