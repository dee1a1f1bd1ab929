/** What MariaDB decides about values beyond what its catalogue says. */
import type {PreflightRules} from '../mysql-family/preflight.js'
import type {ValueRules} from '../mysql-family/values.js'

const asked = new Set<string>()

export const valueRules: ValueRules = {
  refusesMinus: true,
  asks: (name) => asked.has(name),
}

export const preflightRules: PreflightRules = {
  judgedByStart: {
    default_storage_engine: /^InnoDB$/i,
    default_tmp_storage_engine: /^InnoDB$/i,
    time_zone: /^SYSTEM$/i,
    lc_messages: /^en_US$/i,
    lc_time_names: /^en_US$/i,
  },
  adjustedAtStart: () => ({}),
}
