import {DbaasError} from '../errors.js'

/** Who asks. Every service call takes one. */
export interface Principal {
  /** `local:<uid>` for the owner of the socket; later `user:<id>` and `token:<id>`. */
  readonly id: string
  readonly tenantId: string
  readonly roles: readonly string[]
  /** `socket`, or the remote address. */
  readonly source: string
  readonly requestId: string
}

export const platformAdministrator = 'platform_admin'
export const defaultTenant = 'default'

/** The agent's own loops (expiry, reconciliation) act, and are audited, under this name. */
export const agentPrincipal = (requestId: string): Principal => ({
  id: 'agent', tenantId: defaultTenant, roles: [platformAdministrator], source: 'agent', requestId,
})

/** Deny by default. Roles and permissions come with access control; until then one role may do everything. */
export function authorize(principal: Principal, action: string, resource: string): void {
  if (principal.roles.includes(platformAdministrator)) return
  throw new DbaasError('FORBIDDEN', `${principal.id} may not ${action} ${resource}`, {
    details: {action, resource},
    suggestions: ['ask an administrator for a role that allows it', 'dbaas whoami'],
  })
}
