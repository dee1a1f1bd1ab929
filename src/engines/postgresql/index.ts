import type {Engine} from '../engine.js'
import {access} from './access.js'
import {backup} from './backup.js'
import {config} from './config.js'
import {applicationDatabase, applicationRole} from './initialise.js'
import {lifecycle} from './lifecycle.js'
import {replication} from './replication.js'
import {upgrade} from './upgrade.js'
import {versions} from './versions.js'
import {wire} from './wire.js'

export const postgresql = {
  name: 'postgresql',
  title: 'PostgreSQL',
  scheme: 'postgresql',
  defaultPort: 5432,
  defaultDatabase: applicationDatabase,
  defaultUsername: applicationRole,
  /** `2026-11-23 19:41:14.211 UTC [4728] …`, as log_line_prefix has it. */
  logTime(line) {
    const match = /^(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2}\.\d{3}) (?:UTC|GMT) /.exec(line)
    return match ? Date.parse(`${match[1]}T${match[2]}Z`) : undefined
  },
  versions,
  images: {repository: 'postgres', tag: (version) => version, serverUser: 'postgres'},
  config,
  lifecycle,
  access,
  wire,
  backup,
  replication,
  upgrade,
} as const satisfies Engine
