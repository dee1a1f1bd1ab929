import * as Flags from '@oclif/core/flags'
import {runtimeNames} from '../agent/runtimes/names.js'
import {engineNames} from '../engines/names.js'
import {BaseCommand} from './_support/base-command.js'
import {operationFlags, optionalArgument, replicasFlag, setFlag} from './_support/flags.js'

export default class Create extends BaseCommand {
  static override summary = 'Create a running database'
  static override description = `With nothing but a name it has sane everything. The sizes are
micro (0.5 CPU, 512 MiB), small (1, 1 GiB; the default), medium (2, 4 GiB), large (4, 16 GiB), xlarge (8, 64 GiB);
--cpu, --memory and --storage replace one dimension of a size.
--ha makes a primary and two replicas, one of which confirms every commit: when any one of the three is lost, no write is
lost and none waits. With --ha --replicas 1 writes wait while the replica is away.`
  static override examples = [
    '<%= config.bin %> create demo',
    '<%= config.bin %> create shop --version 17 --size medium --template oltp --set work_mem=32MB --protect',
    '<%= config.bin %> create ledger --ha',
    '<%= config.bin %> create -f shop.yaml --plan',
  ]
  static override args = {name: optionalArgument('name: lower-case letters, digits and hyphens')}
  static override flags = {
    engine: Flags.string({description: `engine (${engineNames.join(', ')})`}),
    version: Flags.string({description: 'version, or the beginning of one: 18, 17.10'}),
    size: Flags.string({description: 'micro, small, medium, large or xlarge'}),
    cpu: Flags.string({helpValue: '<cores>', description: 'CPU cores; a fraction is a share of one'}),
    memory: Flags.string({helpValue: '<size>', description: 'memory, with a unit: 4GiB'}),
    storage: Flags.string({helpValue: '<size>', description: 'disk, with a unit: 20GB'}),
    ha: Flags.boolean({description: 'highly available: replicas confirm every commit, and one takes over when the primary is lost'}),
    ...replicasFlag,
    template: Flags.string({description: 'configuration template (dbaas config templates list)'}),
    ...setFlag,
    runtime: Flags.string({description: `how it runs (${runtimeNames.join(', ')})`}),
    image: Flags.string({description: 'container image to run instead of the official one'}),
    'publish-address': Flags.string({helpValue: '<address>', description: 'address its ports are bound to, where containers run elsewhere'}),
    ttl: Flags.string({helpValue: '<duration>', description: 'delete it by itself after this long'}),
    backup: Flags.boolean({allowNo: true, default: true, description: 'take backups (--no-backup: it is not protected)'}),
    repository: Flags.string({description: 'where its backups are kept (dbaas repositories list)'}),
    protect: Flags.boolean({description: 'refuse to delete it until unprotected'}),
    port: Flags.string({helpValue: '<port>', description: 'port of its endpoint; chosen when not given'}),
    file: Flags.string({char: 'f', helpValue: '<file>', description: 'YAML with the same keys as the flags; - is stdin'}),
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Create)
    const {createBody, parseCreateFile} = await import('./_support/create-request.js')
    const {readInput} = await import('./_support/files.js')
    const file = flags.file === undefined ? {} : await parseCreateFile(await readInput(flags.file), flags.file)
    const {engine, version, size, cpu, memory, storage, ha, replicas, template, set, runtime, image, ttl, protect, port} = flags
    const backup = flags.backup ? undefined : false
    const asked = {
      name: args.name, engine, version, size, cpu, memory, storage, ha, replicas, template, set, runtime, image, 'publish-address': flags['publish-address'], ttl, backup, repository: flags.repository,
      protect, port,
    }
    const body = createBody(file, asked, flags.plan)
    const client = await this.client()
    const {mutate} = await import('./_support/follow.js')
    const result = await mutate(client, 'instances.create', {body}, flags)
    return this.answer(result, async (paint) => {
      const [{renderMutation}, {renderCreated}] = await Promise.all([import('./_support/render/operation.js'), import('./_support/render/instance.js')])
      return renderMutation(result, paint, (instance, operation) => (instance ? renderCreated(instance, operation, paint) : ''))
    })
  }
}
