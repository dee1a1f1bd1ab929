import * as Flags from '@oclif/core/flags'
import {BaseCommand} from './_support/base-command.js'
import {setFlag} from './_support/flags.js'

export default class Run extends BaseCommand {
  static override enableJsonFlag = false
  static override strict = false
  static override summary = 'Run a command on a fresh database that is gone afterwards'
  static override description = `For it are set DATABASE_URL, PG* or MYSQL_*, and DBAAS_INSTANCE. Its exit code is passed on; stdout is its own, what
dbaas says goes to stderr. The database lives as long as the command, whatever ends it.`
  static override usage = 'run [FLAGS] -- CMD [ARGS]'
  static override examples = [
    '<%= config.bin %> run -- npm test',
    `<%= config.bin %> run --engine postgresql --version 17 --set work_mem=32MB -- sh -c 'psql -f schema.sql && pytest'`,
  ]
  static override flags = {
    engine: Flags.string({description: 'engine'}),
    version: Flags.string({description: 'version, or the beginning of one'}),
    runtime: Flags.string({description: 'how it runs'}),
    image: Flags.string({description: 'container image to run instead of the official one'}),
    size: Flags.string({description: 'micro, small, medium, large or xlarge'}),
    template: Flags.string({description: 'configuration template (dbaas config templates list)'}),
    ...setFlag,
    name: Flags.string({description: 'name of the instance; run-… by default'}),
    quiet: Flags.boolean({char: 'q', description: 'say nothing but errors'}),
    ha: Flags.boolean({description: 'with two replicas, one of which confirms every commit'}),
    from: Flags.string({hidden: true}),
  }

  async run(): Promise<void> {
    const {splitArguments} = await import('./_support/arguments.js')
    const {own, rest, hasRest} = splitArguments(this.argv)
    const {checkDashes, checkRun, runName} = await import('./_support/run/request.js')
    checkDashes(own, hasRest)
    const {flags, argv} = await this.parse(Run, own)
    checkRun(flags, argv as string[], rest)
    const {resolveProgram} = await import('./_support/run/program.js')
    const program = await resolveProgram(rest[0] as string)
    const {createBody} = await import('./_support/create-request.js')
    const {engine, version, runtime, image, size, ha, template, set} = flags
    const body = createBody({}, {name: flags.name ?? runName(), engine, version, runtime, image, size, ha, template, set}, false)
    const [client, location] = [await this.client(), await this.location()]
    const [{withDatabase}, {environmentFor}, {passThrough}] = await Promise.all([
      import('./_support/run/database.js'), import('./_support/run/environment.js'), import('./_support/pass-through.js'),
    ])
    process.exitCode = await withDatabase(client, body, flags, async (instance) => {
      const env = await environmentFor(client, location, instance, flags)
      return passThrough(program, rest.slice(1), {env, argv0: rest[0] as string})
    })
  }
}
