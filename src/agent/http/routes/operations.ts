import {accepted, ok} from '../handler.js'
import type {HandlersOf} from '../handler.js'

export const operationRoutes = {
  'operations.list': async ({principal, query}, {operations}) =>
    ok({operations: await operations.list(principal, query)}),
  'operations.get': async ({principal, params}, {operations}) =>
    ok({operation: await operations.get(principal, params.operation)}),
  'operations.events': async ({principal, params, signal}, {operations}) => ({
    events: await operations.follow(principal, params.operation, signal),
  }),
  'operations.cancel': async ({principal, params}, {operations}) =>
    accepted({operation: await operations.cancel(principal, params.operation)}),
} satisfies HandlersOf<'operations'>
