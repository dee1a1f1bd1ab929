/** The only reader of `process.env` in the daemon. */
import {homedir} from 'node:os'
import {join, resolve} from 'node:path'

export interface AgentConfig {
  readonly home: string
  readonly siteName: string
  readonly region: string
}

export function readConfig(env: NodeJS.ProcessEnv = process.env): AgentConfig {
  return {
    home: resolve(env.DBAAS_HOME && env.DBAAS_HOME !== '' ? env.DBAAS_HOME : join(env.HOME ?? homedir(), '.dbaas')),
    siteName: env.DBAAS_SITE_NAME ?? 'local',
    region: env.DBAAS_REGION ?? 'local',
  }
}
