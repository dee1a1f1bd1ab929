import {createConfig} from '../mysql-family/config.js'
import {numberOf} from '../mysql-family/preflight.js'
import {describer} from './catalogue.js'
import {dialect} from './dialect.js'
import {whyManaged} from './managed.js'
import {templates} from './templates.js'
import {fromSize} from './tuning.js'
import {valueRules, preflightRules} from './rules.js'

export const config = createConfig({
  dialect,
  describer,
  values: valueRules,
  preflight: preflightRules,
  whyManaged,
  fromSize,
  templates,

  // pages come when they are read, but the room for them is taken; of the rest, what 10.11 was seen to take
  memoryOf: (effective) =>
    numberOf(effective, 'innodb_buffer_pool_size') * 1.05 +
    numberOf(effective, 'innodb_log_buffer_size') * 2 +
    numberOf(effective, 'key_buffer_size') +
    numberOf(effective, 'aria_pagecache_buffer_size') +
    numberOf(effective, 'max_connections') * 128 * 1024 +
    100 * 1024 ** 2,
})
