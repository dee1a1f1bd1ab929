import {ok, planned} from '../handler.js'
import type {HandlersOf} from '../handler.js'

export const configurationRoutes = {
  'configuration.get': async ({principal, params, query}, {configuration}) =>
    ok({parameters: await configuration.get(principal, params.instance, query)}),
  'configuration.update': async ({principal, params, body, idempotency}, {configuration}) =>
    planned(await configuration.update(principal, params.instance, body, idempotency)),
  'configuration.diff': async ({principal, params, query}, {configuration}) =>
    ok({differences: await configuration.diff(principal, params.instance, query.with)}),
  'parameters.list': async ({principal, params}, {configuration}) =>
    ok({parameters: await configuration.parameters(principal, params.engine, params.version)}),
  'parameters.get': async ({principal, params}, {configuration}) =>
    ok({parameter: await configuration.parameter(principal, params.engine, params.version, params.parameter)}),
} satisfies HandlersOf<'configuration' | 'parameters'>
