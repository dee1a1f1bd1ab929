import type {Engine} from '../engine.js'
import {createAccess} from '../mysql-family/access.js'
import {applicationAccount, applicationDatabase} from '../mysql-family/initialise.js'
import {createLifecycle} from '../mysql-family/lifecycle.js'
import {wire} from '../mysql-family/wire.js'
import {config} from './config.js'
import {dialect} from './dialect.js'
import {versions} from './versions.js'

export const mysql = {
  name: dialect.engine,
  title: dialect.title,
  scheme: 'mysql',
  defaultPort: 3306,
  defaultDatabase: applicationDatabase,
  defaultUsername: applicationAccount,
  /** `2026-11-23T19:41:14.211123Z 0 [System] …`, as log_timestamps=UTC has it. */
  logTime(line) {
    const match = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z(?= \d)/.exec(line)
    return match ? Date.parse(match[0]) : undefined
  },
  versions,
  images: {repository: 'mysql', tag: (version) => version, serverUser: 'mysql'},
  config,
  lifecycle: createLifecycle(dialect),
  access: createAccess(dialect),
  wire,
} as const satisfies Engine
