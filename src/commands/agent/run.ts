import {BaseCommand} from '../_support/base-command.js'

export default class AgentRun extends BaseCommand {
  static override enableJsonFlag = false
  static override summary = 'Run the agent in the foreground, for a service manager'
  static override description = 'Its log goes to stderr. SIGTERM or Ctrl-C ends it; databases go on.'
  static override examples = ['<%= config.bin %> agent run', 'DBAAS_HOME=/srv/dbaas <%= config.bin %> agent run']

  async run(): Promise<void> {
    await this.parse(AgentRun)
    const location = await this.location()
    const [{join}, {passThrough}] = await Promise.all([import('node:path'), import('../_support/pass-through.js')])
    process.exitCode = await passThrough(process.execPath, [join(this.config.root, 'bin/agent.js')], {env: {...process.env, DBAAS_HOME: location.home}})
  }
}
