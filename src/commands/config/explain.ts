import {BaseCommand} from '../_support/base-command.js'
import {argument, instanceArgument} from '../_support/flags.js'

export default class ConfigExplain extends BaseCommand {
  static override summary = 'Explain one parameter: range, unit, default, reload or restart'
  static override examples = ['<%= config.bin %> config explain demo work_mem', '<%= config.bin %> config explain demo shared_buffers --json']
  static override args = {...instanceArgument, parameter: argument('name of the parameter')}

  async run(): Promise<unknown> {
    const {args} = await this.parse(ConfigExplain)
    const client = await this.client()
    const {instance} = await client.call('instances.get', {params: {instance: args.name}})
    const {engine, version} = instance
    const {parameter} = await client.call('parameters.get', {params: {engine, version, parameter: args.parameter}})
    return this.answer({parameter}, async (paint) => {
      // The value is a courtesy: a stopped server has none, and the explanation stands without it.
      const readings = await client.call('configuration.get', {params: {instance: instance.id}, query: {all: true}}).catch(() => undefined)
      const {renderParameter} = await import('../_support/render/configuration.js')
      return renderParameter(parameter, readings?.parameters[parameter.name], paint)
    })
  }
}
