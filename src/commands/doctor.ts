import {BaseCommand} from './_support/base-command.js'

export default class Doctor extends BaseCommand {
  static override summary = 'Check what this site can do, and how to get what it lacks'
  static override description = 'Exits 1 when something is a problem; notes and warnings are not.'
  static override examples = ['<%= config.bin %> doctor', '<%= config.bin %> doctor --json']

  async run(): Promise<unknown> {
    await this.parse(Doctor)
    const [{localChecks, unreachable}, {toDbaasError}] = await Promise.all([import('./_support/checks.js'), import('./_support/failure.js')])
    const checks = await localChecks()
    try {
      const client = await this.client()
      checks.push(...(await client.call('doctor.get', {})).checks)
    } catch (error) {
      checks.push(unreachable(toDbaasError(error)))
    }
    if (checks.some((check) => check.level === 'problem')) process.exitCode = 1
    return this.answer({checks}, async (paint) => (await import('./_support/render/platform.js')).renderChecks(checks, paint))
  }
}
