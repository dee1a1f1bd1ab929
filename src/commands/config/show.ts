import * as Flags from '@oclif/core/flags'
import {BaseCommand} from '../_support/base-command.js'
import {instanceArgument, optionalArgument} from '../_support/flags.js'

export default class ConfigShow extends BaseCommand {
  static override summary = 'Show the parameters as they are on the server'
  static override description = 'Those that are not at their default; all with --all, or one by its name.'
  static override examples = ['<%= config.bin %> config show demo', '<%= config.bin %> config show demo work_mem --json']
  static override args = {...instanceArgument, parameter: optionalArgument('only this parameter')}
  static override flags = {all: Flags.boolean({char: 'a', description: 'every parameter of the server'})}

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(ConfigShow)
    const client = await this.client()
    const all = flags.all || args.parameter !== undefined
    const {parameters} = await client.call('configuration.get', {params: {instance: args.name}, query: all ? {all} : {}})
    const shown = args.parameter === undefined ? parameters : {[args.parameter]: await pick(parameters, args.parameter, args.name)}
    return this.answer({parameters: shown}, async (paint) => (await import('../_support/render/configuration.js')).renderReadings(shown, {managed: all}, paint))
  }
}

async function pick<T>(parameters: Readonly<Record<string, T>>, name: string, instance: string): Promise<T> {
  const found = Object.hasOwn(parameters, name) ? parameters[name] : undefined
  if (found !== undefined) return found
  const [{DbaasError}, {nearest}] = await Promise.all([import('../../core/errors.js'), import('../../core/nearest.js')])
  const near = nearest(name, Object.keys(parameters))
  throw new DbaasError('UNKNOWN_PARAMETER', `the server of ${instance} has no parameter "${name}"`, {
    details: {parameter: name},
    suggestions: [...(near ? [`did you mean ${near}?`] : []), `dbaas config show ${instance} --all`],
  })
}
