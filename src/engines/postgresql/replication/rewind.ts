/** Takes the data of a node back to where they left another's history: pg_rewind, where there is one. */
import type {EngineReplication} from '../../replication.js'
import {DbaasError} from '../../../core/errors.js'
import {filesOf} from '../files.js'
import {seal} from '../initialise.js'
import {programEnv} from '../preflight.js'
import {majorOf} from '../versions.js'
import {canRewind} from './data.js'
import {peerConnection, prepareBoot} from './settings.js'

/** It reads all of the source's log since then, and copies what changed. */
const rewindSeconds = 3600

/** What it says before it writes. */
const changing = /rewinding from last common checkpoint/

const reasonIn = (words: string): string => words.split('\n').filter((line) => /(?:error|fatal|detail|hint): /.test(line)).map((line) => line.replace(/^pg_rewind: /, '')).join('; ') || words.trim().split('\n').at(-1) || 'it said nothing'

export const rewind: EngineReplication['rewind'] = async (host, upstream, {version, timeoutSeconds, signal}) => {
  if (!(await canRewind(host))) throw new DbaasError('NOT_SUPPORTED', `there is no pg_rewind in ${host.paths.bin}`, {suggestions: ['copy the data of another node']})
  const {data} = host.paths
  const {unfinished, conf} = filesOf(host)
  if (await host.exists(unfinished)) throw new DbaasError('INVALID_STATE', 'an earlier rewind of the data did not come to its end', {suggestions: ['copy the data of another node']})
  // From now on they are neither what they were nor what they shall be; a killed rewind cannot be told from a finished one by the data.
  await host.write({path: unfinished, content: `rewind to ${upstream.address.host}:${upstream.address.port}\n`})
  await host.remove(`${data}/postmaster.pid`)
  // It first lets the server recover by itself, in a mode that knows no standby.
  await host.remove(`${data}/standby.signal`)
  const result = await host.exec([
    `${host.paths.bin}/pg_rewind`, '--target-pgdata', data, '--source-server', peerConnection(host, upstream),
    // before 15 it reads the one in the data, which initdb has put there
    ...(majorOf(version) >= 15 ? ['--config-file', conf] : []),
  ], {env: programEnv, timeoutSeconds: timeoutSeconds ?? rewindSeconds, dials: true, ...(signal ? {signal} : {})})
  signal?.throwIfAborted()
  const words = `${result.stdout}\n${result.stderr}`
  if (result.code !== 0 || result.timedOut) {
    // it has changed nothing yet, but recovered
    if (!result.timedOut && !changing.test(words)) {
      await host.write({path: `${data}/standby.signal`, content: ''})
      await host.remove(unfinished)
    }
    throw new DbaasError('COMMAND_FAILED', `pg_rewind ${result.timedOut ? 'took too long' : `ended with code ${result.code}`}: ${reasonIn(words)}`, {
      details: {program: 'pg_rewind'}, suggestions: ['copy the data of another node'],
    })
  }
  // Its source may have had settings in its data, and slots are not copied: the caller keeps log for peers anew.
  await seal(host, version)
  await host.write({path: `${data}/standby.signal`, content: ''})
  await host.remove(unfinished)
  await prepareBoot(host, {role: 'standby', upstream})
}
