/** The only reader of `process.env` in the daemon. */
import {homedir} from 'node:os'
import {join, resolve} from 'node:path'

export interface AgentConfig {
  readonly home: string
  readonly siteName: string
  readonly region: string
  /** Data directories prepared ahead for each engine; 0 prepares none. About 40 MB each. */
  readonly poolSize: number
  /** Endpoints get ports from this one on, 1000 of them: sites that share a machine need not meet. */
  readonly firstPort?: number
  /** The rest of the environment, for what has a say in it of its own (`DOCKER_HOST`), and for the processes we start. */
  readonly env: Readonly<Record<string, string | undefined>>
}

export function readConfig(env: NodeJS.ProcessEnv = process.env): AgentConfig {
  return {
    home: resolve(env.DBAAS_HOME && env.DBAAS_HOME !== '' ? env.DBAAS_HOME : join(env.HOME ?? homedir(), '.dbaas')),
    siteName: env.DBAAS_SITE_NAME ?? 'local',
    region: env.DBAAS_REGION ?? 'local',
    poolSize: /^\d{1,2}$/.test(env.DBAAS_POOL_SIZE ?? '') ? Number(env.DBAAS_POOL_SIZE) : 2,
    ...(/^\d{4,5}$/.test(env.DBAAS_FIRST_PORT ?? '') ? {firstPort: Math.min(Number(env.DBAAS_FIRST_PORT), 64_000)} : {}),
    env: {...env},
  }
}
