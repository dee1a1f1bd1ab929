import type {EngineBackup} from '../backup.js'
import {asker} from './backup/asker.js'
import {baseBackup} from './backup/base-backup.js'
import {check} from './backup/check.js'
import {cloneFiles} from './backup/clone.js'
import {follow} from './backup/follow.js'
import {hold, observeHold, release} from './backup/hold.js'
import {isNeeded, mark} from './backup/log.js'
import {formatLsn, parseLsn, parseSegment, parseTimeline, segmentName} from './backup/lsn.js'
import {recovery} from './backup/recovery.js'
import {backupRole, prepare} from './backup/role.js'

export const backup: EngineBackup = {
  username: backupRole,
  prepare,
  asker,
  base: baseBackup,
  log: {
    compare: (a, b) => parseLsn(a) - parseLsn(b),
    distance: (from, to) => parseLsn(to) - parseLsn(from),
    positionOf: (segment, offset) => formatLsn(parseSegment(segment).start + offset),
    segmentOf: ({timeline, position}) => segmentName(parseTimeline(timeline), parseLsn(position)),
    isNeeded,
    hold,
    release,
    observeHold,
    follow,
    mark,
  },
  recovery,
  cloneFiles,
  check,
}
