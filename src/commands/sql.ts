import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {argument, instanceArgument} from './_support/flags.js'

export default class Sql extends BaseCommand {
  static override summary = 'Run a statement; needs no client installed'
  static override description = 'Runs as the application\'s role. Of several statements the last result is shown. "-" reads them from stdin.'
  static override examples = ['<%= config.bin %> sql demo "select version()"', 'echo "select 1;" | <%= config.bin %> sql demo - --json']
  static override args = {...instanceArgument, statement: argument('the statement, or - for stdin')}
  static override flags = {
    node: Flags.string({description: 'a node by name or id; the primary by default'}),
    timeout: Flags.string({helpValue: '<duration>', description: 'cancel the statement after this long'}),
  }

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(Sql)
    const {DbaasError} = await import('../core/errors.js')
    const {parseDuration} = await import('../core/time.js')
    const timeout = flags.timeout === undefined ? {} : {timeout_seconds: parseDuration(flags.timeout) / 1000}
    const statement = args.statement === '-' ? await (await import('./_support/files.js')).readStdin() : args.statement
    if (statement.trim() === '') {
      throw new DbaasError('USAGE', 'the statement is empty', {suggestions: [`dbaas sql ${args.name} "select 1"`]})
    }
    const client = await this.client()
    const result = await client.call('instances.sql', {
      params: {instance: args.name},
      body: {statement, ...(flags.node ? {node: flags.node} : {}), ...timeout},
      idempotencyKey: crypto.randomUUID(),
    })
    return this.answer(result, async (paint) => (await import('./_support/render/sql.js')).renderSql(result, paint))
  }
}
