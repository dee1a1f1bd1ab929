import type {EngineReplication} from '../replication.js'
import {copy} from './replication/copy.js'
import {assessRejoin, divergence, history, readData, shutdownPosition} from './replication/data.js'
import {journal} from './replication/journal.js'
import {limitsChange, lowerLimits, standbyValues} from './replication/limits.js'
import {peerRole} from './replication/names.js'
import {hasRoom, observe, probe, probeWrite} from './replication/observe.js'
import {rewind} from './replication/rewind.js'
import {prepareBoot, provide} from './replication/settings.js'
import {keepLogFor, prepare} from './replication/slots.js'
import {afterPromotion, detach, follow, promote} from './replication/standby.js'
import {barrier, setSynchronous} from './replication/synchronous.js'
import {formatLsn} from './backup/lsn.js'
import {logKept} from './tuning.js'

export const replication: EngineReplication = {
  username: peerRole,
  parameters: logKept,
  formatPosition: (position) => formatLsn(Number(position)),
  prepare,
  provide,
  prepareBoot,
  probe,
  observe,
  probeWrite,
  hasRoom,
  setSynchronous,
  barrier,
  follow,
  detach,
  promote,
  afterPromotion,
  keepLogFor,
  copy,
  readData,
  shutdownPosition,
  assessRejoin,
  divergence,
  history,
  rewind,
  limitsChange,
  standbyValues,
  lowerLimits,
  journal,
}
