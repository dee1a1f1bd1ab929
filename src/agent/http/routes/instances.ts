import {ok, planned} from '../handler.js'
import type {HandlersOf} from '../handler.js'

export const instanceRoutes = {
  'instances.list': async ({principal, query}, {instances}) => ok({instances: await instances.list(principal, query)}),
  'instances.create': async ({principal, body, idempotency}, {instances}) =>
    planned(await instances.create(principal, body, idempotency)),
  'instances.get': async ({principal, params}, {instances}) =>
    ok({instance: await instances.get(principal, params.instance)}),
  'instances.update': async ({principal, params, body}, {instances}) =>
    ok(await instances.update(principal, params.instance, body)),
  'instances.delete': async ({principal, params, query, idempotency}, {instances}) =>
    planned(await instances.delete(principal, params.instance, query, idempotency)),
  'instances.start': async ({principal, params, body, idempotency}, {instances}) =>
    planned(await instances.start(principal, params.instance, body, idempotency)),
  'instances.stop': async ({principal, params, body, idempotency}, {instances}) =>
    planned(await instances.stop(principal, params.instance, body, idempotency)),
  'instances.restart': async ({principal, params, body, idempotency}, {instances}) =>
    planned(await instances.restart(principal, params.instance, body, idempotency)),
  'instances.restore': async ({principal, params, body, idempotency}, {restoring}) =>
    planned(await restoring.restore(principal, params.instance, body, idempotency)),
  'instances.undo': async ({principal, params, body, idempotency}, {restoring}) =>
    planned(await restoring.undo(principal, params.instance, body, idempotency)),
  'instances.clone': async ({principal, params, body, idempotency}, {restoring}) =>
    planned(await restoring.clone(principal, params.instance, body, idempotency)),
  'instances.upgrade': async ({principal, params, body, idempotency}, {upgrading}) =>
    planned(await upgrading.upgrade(principal, params.instance, body, idempotency)),
  'instances.undo_upgrade': async ({principal, params, body, idempotency}, {upgrading}) =>
    planned(await upgrading.undo(principal, params.instance, body, idempotency)),
  // how many servers there are is another service's matter than how large they are
  'instances.scale': async ({principal, params, body, idempotency}, {scaling, highAvailability}) =>
    planned(await (body.high_availability === undefined && body.replicas === undefined ? scaling : highAvailability).scale(principal, params.instance, body, idempotency)),
  'instances.failover': async ({principal, params, body, idempotency}, {highAvailability}) =>
    planned(await highAvailability.failover(principal, params.instance, body, idempotency)),
  'instances.switchover': async ({principal, params, body, idempotency}, {highAvailability}) =>
    planned(await highAvailability.switchover(principal, params.instance, body, idempotency)),
  'instances.promote': async ({principal, params, body, idempotency}, {highAvailability}) =>
    planned(await highAvailability.promote(principal, params.instance, body, idempotency)),
  'instances.lease': async ({principal, params, signal}, {instances}) => ({
    text: await instances.lease(principal, params.instance, signal),
  }),
  'instances.credentials': async ({principal, params}, {instances}) =>
    ok({credentials: await instances.credentials(principal, params.instance)}),
  'instances.sql': async ({principal, params, body, signal}, {instances}) =>
    ok(await instances.sql(principal, params.instance, body, signal)),
  'instances.logs': async ({principal, params, query, signal}, {instances}) => ({
    text: await instances.logs(principal, params.instance, query, signal),
  }),
} satisfies HandlersOf<'instances'>
