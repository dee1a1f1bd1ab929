import {BaseCommand} from '../_support/base-command.js'
import {argument, operationFlags} from '../_support/flags.js'

export default class KeysImport extends BaseCommand {
  static override summary = 'Put back a master key that was exported'
  static override description = `What dbaas keys export has printed: the key, or its JSON. Backups that were made with it can be read again, and those
that the present key opens are wrapped by it, too. No backup is written anew.`
  static override examples = ['<%= config.bin %> keys import /media/usb/dbaas-key.json', 'pass show dbaas | <%= config.bin %> keys import -']
  static override args = {file: argument('file with the key; - is stdin')}
  static override flags = operationFlags

  async run(): Promise<unknown> {
    const {args, flags} = await this.parse(KeysImport)
    const [{readInput}, {parseKey}] = await Promise.all([import('../_support/files.js'), import('../_support/key-request.js')])
    const key = parseKey(await readInput(args.file), args.file)
    const client = await this.client()
    const {mutate} = await import('../_support/follow.js')
    const result = await mutate(client, 'keys.import', {body: flags.plan ? {key, plan: true} : {key}}, flags)
    return this.answer(result, async (paint) => {
      const {doneLine, renderMutation} = await import('../_support/render/operation.js')
      return renderMutation(result, paint, (_, operation) => {
        const {backups} = (operation.result ?? {}) as {backups?: number}
        const found = backups ? `  ${paint.cyan('→')} dbaas backups list  ${paint.dim(`(${backups} of before can be read again)`)}\n` : ''
        return `${doneLine('the master key is the one that was imported', operation, paint)}\n${found}`
      })
    })
  }
}
