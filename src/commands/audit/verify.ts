import {BaseCommand} from '../_support/base-command.js'

export default class AuditVerify extends BaseCommand {
  static override summary = 'Prove that the audit log is whole, or name the first broken entry (exit 1)'
  static override examples = ['<%= config.bin %> audit verify', '<%= config.bin %> audit verify --json']

  async run(): Promise<unknown> {
    await this.parse(AuditVerify)
    const client = await this.client()
    const {verification} = await client.call('audit.verify', {})
    if (!verification.ok) process.exitCode = 1
    return this.answer({verification}, (paint) => (verification.ok
      ? `${paint.green('✓')} the audit log is whole: ${verification.entries} entries${verification.head_hash === null ? '' : `, last hash ${verification.head_hash}`}\n`
      : `${paint.red('✗')} the audit log is broken at entry ${verification.first_broken_sequence ?? '?'}: ${verification.because ?? 'its hash does not match'}\n`))
  }
}
