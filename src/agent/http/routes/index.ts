import type {Handlers} from '../handler.js'
import {auditRoutes} from './audit.js'
import {backupRoutes} from './backups.js'
import {configurationRoutes} from './configuration.js'
import {engineRoutes} from './engines.js'
import {highAvailabilityRoutes} from './high-availability.js'
import {instanceRoutes} from './instances.js'
import {operationRoutes} from './operations.js'
import {platformRoutes} from './platform.js'
import {templateRoutes} from './templates.js'

/** Every endpoint of the table has a handler, or this does not compile. */
export const handlers: Handlers = {
  ...platformRoutes,
  ...instanceRoutes,
  ...highAvailabilityRoutes,
  ...backupRoutes,
  ...configurationRoutes,
  ...engineRoutes,
  ...templateRoutes,
  ...operationRoutes,
  ...auditRoutes,
}
