import {ok, planned} from '../handler.js'
import type {HandlersOf} from '../handler.js'

export const engineRoutes = {
  'engines.list': async ({principal}, {engines}) => ok(await engines.list(principal)),
  'engines.install': async ({principal, params, body, idempotency}, {engines}) =>
    planned(await engines.install(principal, params.engine, body, idempotency)),
  'engines.remove': async ({principal, params, query, idempotency}, {engines}) =>
    planned(await engines.remove(principal, params.engine, params.version, query, idempotency)),
} satisfies HandlersOf<'engines'>
