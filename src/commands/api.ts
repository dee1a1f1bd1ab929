import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {argument} from './_support/flags.js'

export default class Api extends BaseCommand {
  static override summary = 'Make a raw call of the API'
  static override description = 'Prints the answer as it is. The document of all calls: dbaas api GET /v1/openapi.json'
  static override examples = ['<%= config.bin %> api GET /v1/instances', `<%= config.bin %> api PATCH /v1/instances/demo --body '{"protected":true}'`]
  static override args = {method: argument('GET, POST, PUT, PATCH or DELETE'), path: argument('/v1/…, with its query')}
  static override flags = {
    body: Flags.string({helpValue: '<json>', description: 'the request body; @FILE reads a file, - reads stdin'}),
    'idempotency-key': Flags.string({description: 'repeat a change with the same key and it happens once'}),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(Api)
    const {readInput} = await import('./_support/files.js')
    const body = flags.body === undefined ? undefined
      : flags.body === '-' ? await readInput('-')
        : flags.body.startsWith('@') ? await readInput(flags.body.slice(1)) : flags.body
    const [location, {ensureAgent}, {checkPath, rawCall}] = await Promise.all([
      this.location(), import('../agent/client/launch.js'), import('./_support/raw-call.js'),
    ])
    const method = args.method.toUpperCase()
    checkPath(method, args.path)
    await ensureAgent(location)
    const request = {method, path: args.path, body, idempotencyKey: flags['idempotency-key']}
    process.exitCode = await rawCall(location, request, process.stdout)
  }
}
