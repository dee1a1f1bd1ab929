import {ok, planned} from '../handler.js'
import type {HandlersOf} from '../handler.js'

export const backupRoutes = {
  'backups.list': async ({principal, query}, {backups}) => ok({backups: await backups.list(principal, query)}),
  'backups.create': async ({principal, params, body, idempotency}, {backups}) =>
    planned(await backups.create(principal, params.instance, body, idempotency)),
  'backups.get': async ({principal, params}, {backups}) => ok({backup: await backups.get(principal, params.backup)}),
  'backups.verify': async ({principal, params, body, idempotency}, {backups}) =>
    planned(await backups.verify(principal, params.backup, body, idempotency)),
  'backups.delete': async ({principal, params, query, idempotency}, {backups}) =>
    planned(await backups.delete(principal, params.backup, query, idempotency)),
  'points.create': async ({principal, params, body}, {backups}) => ok({point: await backups.point(principal, params.instance, body)}),
  'drills.restore': async ({principal, params, body, idempotency}, {backups}) =>
    planned(await backups.drill(principal, params.instance, body, idempotency)),
  'drills.failover': async ({principal, params, body, idempotency}, {highAvailability}) =>
    planned(await highAvailability.drill(principal, params.instance, body, idempotency)),
  'schedules.get': async ({principal, params}, {backups}) =>
    ok({schedule: await backups.schedule(principal, params.instance)}),
  'schedules.set': async ({principal, params, body}, {backups}) =>
    ok(await backups.setSchedule(principal, params.instance, body)),
  'repositories.list': async ({principal}, {backups}) => ok({repositories: await backups.repositories(principal)}),
  'repositories.add': async ({principal, body}, {backups}) => ok(await backups.addRepository(principal, body)),
  'repositories.update': async ({principal, params, body}, {backups}) => ok(await backups.updateRepository(principal, params.repository, body)),
  'repositories.promote': async ({principal, params, body}, {backups}) => ok(await backups.promoteRepository(principal, params.repository, body)),
  'repositories.remove': async ({principal, params}, {backups}) => {
    await backups.removeRepository(principal, params.repository)
    return ok({removed: true} as const)
  },
  'repositories.check': async ({principal, params}, {backups}) =>
    ok({repository: await backups.checkRepository(principal, params.repository)}),
  'keys.export': async ({principal}, {backups}) => ok({keys: await backups.exportKeys(principal)}),
  'keys.import': async ({principal, body, idempotency}, {backups}) =>
    planned(await backups.importKey(principal, body, idempotency)),
  'keys.rotate': async ({principal, body, idempotency}, {backups}) =>
    planned(await backups.rotateKeys(principal, body, idempotency)),
} satisfies HandlersOf<'backups' | 'drills' | 'points' | 'schedules' | 'repositories' | 'keys'>
