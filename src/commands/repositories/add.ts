import {resolve} from 'node:path'
import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {argument, planFlag} from '../_support/flags.js'
import {bucketFlags} from '../_support/repository-flags.js'

export default class RepositoriesAdd extends BaseCommand {
  static override summary = 'Add a place to keep backups in'
  static override description = `A folder, made if absent, on a file system with hard links; or a bucket of any server that speaks S3 and has
conditional writes (https, TLS 1.3). Credentials of a bucket are read from --credentials, or from AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of your environment, and are kept sealed; without, the agent's environment counts.
Backups that are in it already, of databases that this site does not know, are listed from then on, if its master key opens
them (dbaas keys import): they can be restored by their names, on this machine or any other.
--copy-of keeps it a copy of another repository, --copy-to keeps a copy of it elsewhere, for another disk or region: after each
backup, and every minute for the log.`
  static override examples = [
    '<%= config.bin %> repositories add nas /mnt/nas/dbaas',
    '<%= config.bin %> repositories add cloud s3://backups/site-1 --region eu-central-1 --credentials ~/.aws/credentials',
    '<%= config.bin %> repositories add ceph s3://backups --endpoint https://ceph.example.org:7480 --credentials -',
    '<%= config.bin %> repositories add offsite s3://offsite/site-1 --region eu-west-1 --copy-of local',
    '<%= config.bin %> repositories add nas /mnt/nas/dbaas --copy-to /mnt/other/dbaas',
    '<%= config.bin %> repositories add rescued s3://offsite/site-1 --promote',
  ]
  static override args = {repository: argument('a name for it'), location: argument('path of the folder, or s3://bucket/prefix')}
  static override flags = {
    kind: Flags.string({options: ['directory', 's3'], description: 'what it is; the location says it'}),
    ...bucketFlags,
    'copy-of': Flags.string({helpValue: '<repository>', exclusive: ['copy-to'], description: 'keep it a copy of that one'}),
    'copy-to': Flags.string({helpValue: '<location>', description: 'keep a copy of it there, called NAME-copy and reached by the same settings'}),
    promote: Flags.boolean({exclusive: ['copy-of', 'copy-to'], description: 'it is a copy whose original is lost: make it a repository of its own'}),
    ...planFlag,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(RepositoriesAdd)
    const client = await this.client()
    const {local} = await this.location()
    const {repositoryBody} = await import('../_support/repository-request.js')
    const location = local && !args.location.includes('://') ? resolve(args.location) : args.location
    const copyTo = flags['copy-to']
    const copy = copyTo === undefined ? {} : {'copy-to': local && !copyTo.includes('://') ? resolve(copyTo) : copyTo}
    const body = await repositoryBody(args.repository, location, {...flags, ...copy}, process.env)
    const answer = await client.call('repositories.add', {body, idempotencyKey: crypto.randomUUID()})
    return this.answer(answer, async (paint) => {
      if ('plan' in answer) return (await import('../_support/render/operation.js')).renderPlan(answer.plan, paint)
      const found = answer.backups_found
      const hint = found === 0 ? '' : `  ${paint.cyan('→')} dbaas backups list  ${paint.dim(`(${found} ${found === 1 ? 'backup' : 'backups'} of databases that are not here ${found === 1 ? 'is' : 'are'} in it)`)}\n`
      return `${paint.green('✓')} repository ${answer.repository.name} added${copyTo === undefined ? '' : `, with its copy ${answer.repository.name}-copy`}\n${(await import('../_support/render/backups.js')).renderRepository(answer.repository, paint)}${hint}`
    })
  }
}
