import {ok} from '../handler.js'
import type {HandlersOf} from '../handler.js'

const defaultLimit = 100

export const auditRoutes = {
  'audit.list': async ({principal, query}, {platform}) => ok({entries: await platform.audit(principal, query)}),
  'audit.verify': async ({principal}, {platform}) => ok({verification: await platform.verifyAudit(principal)}),
  'requests.list': async ({principal, query}, {platform}) =>
    ok({requests: await platform.requests(principal, query.limit ?? defaultLimit)}),
} satisfies HandlersOf<'audit' | 'requests'>
