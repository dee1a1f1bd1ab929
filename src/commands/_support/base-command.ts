/**
 * What every command shares: the global flags, the agent's client, one JSON document or a screen of text, and errors
 * that leave as one form with one exit code. Light on purpose: everything heavy is imported where it is used.
 */
import {Command} from '@oclif/core/command'
import * as Flags from '@oclif/core/flags'
import type * as Interfaces from '@oclif/core/interfaces'
import type {Client} from '../../agent/client/client.js'
import type {Location} from '../../agent/client/locate.js'
import {asksForJson, report, toDbaasError} from './failure.js'
import type {CommandShape} from './failure.js'
import type {Paint} from './render/paint.js'

// biome-ignore lint/suspicious/noExplicitAny: oclif's own bound for what a parser yields
type Values = Record<string, any>

export abstract class BaseCommand extends Command {
  static override enableJsonFlag = true
  static override baseFlags = {
    context: Flags.string({helpGroup: 'GLOBAL', helpValue: '<name>', description: 'the agent to talk to (DBAAS_CONTEXT)'}),
    tenant: Flags.string({helpGroup: 'GLOBAL', helpValue: '<name>', description: 'the tenant to act in (DBAAS_TENANT)'}),
  }

  #where: {context?: string | undefined; tenant?: string | undefined} = {}

  protected override async parse<F extends Values, B extends Values, A extends Values>(
    options?: Interfaces.Input<F, B, A>,
    argv?: string[],
  ): Promise<Interfaces.ParserOutput<F, B, A>> {
    const parsed = await super.parse<F, B, A>(options, argv)
    this.#where = parsed.flags as {context?: string; tenant?: string}
    return parsed
  }

  protected async location(): Promise<Location> {
    const {locate} = await import('../../agent/client/locate.js')
    return locate(this.#where)
  }

  /** The client of the context's agent. A local agent that does not run is started by the first call, unless told not to. */
  protected async client({start = true}: {start?: boolean} = {}): Promise<Client> {
    const [location, {createClient}] = await Promise.all([this.location(), import('../../agent/client/client.js')])
    const client = createClient({target: location.target, ...(location.tenant === undefined ? {} : {tenant: location.tenant})})
    return start && location.local ? startingAgent(client, location) : client
  }

  /** The data is the JSON document; `render` makes the text, and is only called where text is wanted. */
  protected async answer<T>(data: T, render: (paint: Paint) => string | Promise<string>): Promise<T> {
    if (!this.jsonEnabled()) {
      const {paintFor} = await import('./render/paint.js')
      process.stdout.write(await render(await paintFor(process.stdout)))
    }
    return data
  }

  override jsonEnabled(): boolean {
    return (this.constructor as typeof BaseCommand).enableJsonFlag && asksForJson(this.argv)
  }

  protected override logJson(json: unknown): void {
    process.stdout.write(`${JSON.stringify(json, null, 2)}\n`)
  }

  protected override async catch(error: unknown): Promise<void> {
    const {flags = {}, baseFlags = {}, args = {}, enableJsonFlag} = this.constructor as typeof Command
    const shape: CommandShape = {
      id: (this.id ?? '').replaceAll(':', ' '),
      flags: [...(enableJsonFlag ? ['json'] : []), ...Object.keys(flags), ...Object.keys(baseFlags)],
      args: Object.keys(args).map((name) => (args[name]?.required ? name : `[${name}]`)),
    }
    // Else oclif warns that a command which failed to parse did not parse.
    this.parsed = true
    await report(toDbaasError(error, shape), this.jsonEnabled())
  }
}

/** Asking first whether somebody listens would cost every command a connection; only a refused one starts the agent. */
function startingAgent(client: Client, location: Location): Client {
  const call = async (...request: Parameters<Client['call']>): Promise<unknown> => {
    try {
      return await client.call(...request)
    } catch (error) {
      // Of these it is certain that the request was never sent. ENOTDIR: the home is a file, which the start will tell.
      const {code} = ((error as Error).cause ?? {}) as NodeJS.ErrnoException
      if (code !== 'ENOENT' && code !== 'ECONNREFUSED' && code !== 'ENOTDIR') throw error
      const {ensureAgent} = await import('../../agent/client/launch.js')
      await ensureAgent(location)
      return client.call(...request)
    }
  }
  return {...client, call: call as Client['call']}
}
