import type {Client} from '../../../agent/client/client.js'
import type {Location} from '../../../agent/client/locate.js'
import type {ApiInstance} from '../../../core/api/schemas.js'
import {promptOf} from '../../../engines/prompts.js'
import {readCredentials} from '../credentials.js'
import {variablesFor} from '../render/connection.js'

/**
 * Ours, with the way to the database in it and without what leads elsewhere. A dbaas that the command runs meets the
 * same agent, also where that was named by a flag.
 */
export async function environmentFor(
  client: Client, location: Location, instance: ApiInstance, asked: {context?: string | undefined; tenant?: string | undefined},
): Promise<NodeJS.ProcessEnv> {
  const prompt = await promptOf(instance.engine, instance.name)
  const {credentials, route} = await readCredentials(client, location, instance.id)
  const env: NodeJS.ProcessEnv = {...process.env}
  for (const name of prompt.misleading) delete env[name]
  if (asked.context !== undefined) {
    delete env.DBAAS_URL
    env.DBAAS_CONTEXT = asked.context
  }
  if (asked.tenant !== undefined) env.DBAAS_TENANT = asked.tenant
  return {...env, ...await variablesFor(prompt, credentials, route), DBAAS_INSTANCE: instance.name}
}
