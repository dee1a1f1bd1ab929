import type {Principal} from '../../core/access/principal.js'
import {requestIdHeader} from '../../core/api/paths.js'

/** What is known of a request while it is served. */
export interface Served {
  principal: Principal | undefined
  readonly startedAt: number
  /** Aborts when the client goes, or the agent ends and cannot wait longer. */
  readonly abort: AbortController
  streaming: boolean
}

declare module 'fastify' {
  interface FastifyRequest {
    served: Served | undefined
  }
}

/** On every response. What the API says changes from call to call and may be secret: nobody may keep it. */
export const responseHeaders = (requestId: string): Record<string, string> => ({
  [requestIdHeader]: requestId,
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
})
