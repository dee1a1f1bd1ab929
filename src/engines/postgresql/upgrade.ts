import type {EngineUpgrade} from '../upgrade.js'
import {asAdmin} from './client.js'
import {closedCommand} from './upgrade/closed.js'
import {compare} from './upgrade/compare.js'
import {copy, settle} from './upgrade/copy.js'
import {extensions, survey} from './upgrade/survey.js'
import {findTools, toolHints} from './upgrade/tools.js'
import {majorOf, versions} from './versions.js'

export const upgrade: EngineUpgrade = {
  /** Minor versions change programs, and never the form of the data. */
  seriesOf: (version) => String(majorOf(version)),
  runningVersion: (host, admin) => asAdmin(host, admin, async (client) => {
    const {rows: [row]} = await client.query<{server_version: string}>('show server_version')
    // `15.20 (Debian 15.20-0+deb12u1)`
    return versions.parseVersion(`postgres (PostgreSQL) ${row?.server_version ?? ''}`) ?? ''
  }),
  copy: {findTools, toolHints, survey, extensions, closedCommand, copy, settle, compare},
}
