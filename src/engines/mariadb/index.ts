import type {Engine} from '../engine.js'
import {createAccess} from '../mysql-family/access.js'
import {applicationAccount, applicationDatabase} from '../mysql-family/initialise.js'
import {createLifecycle} from '../mysql-family/lifecycle.js'
import {wire} from '../mysql-family/wire.js'
import {config} from './config.js'
import {dialect} from './dialect.js'
import {versions} from './versions.js'

export const mariadb = {
  name: dialect.engine,
  title: dialect.title,
  // what MariaDB's own connectors take; others take it, too, or look at no scheme
  scheme: 'mariadb',
  defaultPort: 3306,
  defaultDatabase: applicationDatabase,
  defaultUsername: applicationAccount,
  /** `2026-11-23  9:41:14 0 [Note] …`: the server's own zone, which `command` makes UTC; whole seconds. */
  logTime(line) {
    const match = /^(\d{4}-\d{2}-\d{2}) ([ \d]\d):(\d{2}:\d{2}) \d/.exec(line)
    return match ? Date.parse(`${match[1]}T${(match[2] as string).replace(' ', '0')}:${match[3]}Z`) : undefined
  },
  versions,
  images: {repository: 'mariadb', tag: (version) => version, serverUser: 'mysql'},
  config,
  lifecycle: createLifecycle(dialect),
  access: createAccess(dialect),
  wire,
} as const satisfies Engine
