import {BaseCommand} from '../_support/base-command.js'
import {operationFlags} from '../_support/flags.js'

export default class KeysRotate extends BaseCommand {
  static override summary = 'Make a new master key for the backups, and wrap all their keys by it'
  static override description = 'No backup is written anew. Afterwards the former key opens nothing any more: export the new one (dbaas keys export).'
  static override examples = ['<%= config.bin %> keys rotate', '<%= config.bin %> keys rotate --plan']
  static override flags = operationFlags

  async run(): Promise<unknown> {
    const {flags} = await this.parse(KeysRotate)
    const client = await this.client()
    const {mutate} = await import('../_support/follow.js')
    const result = await mutate(client, 'keys.rotate', {body: flags.plan ? {plan: true} : {}}, flags)
    return this.answer(result, async (paint) => {
      const {doneLine, renderMutation} = await import('../_support/render/operation.js')
      return renderMutation(result, paint, (_, operation) => `${doneLine('the master key is a new one', operation, paint)}  ${paint.cyan('→')} dbaas keys export\n`)
    })
  }
}
