import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {instanceArgument, parseNumber} from './_support/flags.js'

export default class Logs extends BaseCommand {
  static override summary = "Show the server's log"
  static override examples = ['<%= config.bin %> logs demo --since 1h', '<%= config.bin %> logs demo --follow']
  static override args = instanceArgument
  static override flags = {
    follow: Flags.boolean({char: 'f', description: 'go on with new lines until Ctrl-C (--json: one object a line)'}),
    since: Flags.string({helpValue: '<time>', description: 'only lines since then: 1h, -10m, or ISO 8601'}),
    lines: Flags.string({char: 'n', helpValue: '<n>', description: 'only the last n lines'}),
    node: Flags.string({description: 'a node by name or id; the primary by default'}),
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Logs)
    const {isoTime, parseTime} = await import('../core/time.js')
    // `--since 1h` is an hour ago, as is `--since -1h`.
    const since = flags.since === undefined ? undefined : isoTime(parseTime(/^\d+(\.\d+)?[a-z]/i.test(flags.since) ? `-${flags.since}` : flags.since, Date.now()))
    const query = {
      ...(flags.node ? {node: flags.node} : {}),
      ...(since ? {since} : {}),
      ...(flags.lines ? {lines: parseNumber('lines', flags.lines, {integer: true})} : {}),
      ...(flags.follow ? {follow: true} : {}),
    }
    const client = await this.client()
    const [{printStream}, {instance}] = await Promise.all([
      import('./_support/text-stream.js'), client.call('instances.get', {params: {instance: args.name}}),
    ])
    return printStream(client.stream('instances.logs', {params: {instance: instance.id}, query}), {json: this.jsonEnabled(), follow: flags.follow})
  }
}
