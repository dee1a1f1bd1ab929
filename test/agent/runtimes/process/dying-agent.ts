/**
 * An agent that is killed, by itself with SIGKILL, at one instruction of a start: `before-go` between the birth of the
 * gate and the line that opens it, `after-start` once the server is let go, `in-exec` while a tool runs in the place.
 */
import {createCgroups} from '../../../../src/agent/runtimes/process/cgroups.js'
import {createHost} from '../../../../src/agent/runtimes/process/host.js'
import {createMembership} from '../../../../src/agent/runtimes/process/membership.js'
import {placeIn} from '../../../../src/agent/runtimes/process/places.js'
import {serviceUser} from '../../../../src/agent/runtimes/process/service-user.js'
import {createSupervisor} from '../../../../src/agent/runtimes/process/supervisor.js'
import {fakeCommand} from '../../../runtimes/fake-engine.js'

const [moment, siteId, nodeId, folder, bin] = process.argv.slice(2) as [string, string, string, string, string]
const die = (): void => void process.kill(process.pid, 'SIGKILL')
const user = await serviceUser()
const real = createCgroups(siteId)
const cgroups = {...real, admit: moment === 'before-go' ? die : real.admit}
const membership = createMembership({siteId, user, cgroups})
const place = placeIn(folder, nodeId)
const host = createHost({place, siteId, user, bin: () => bin, port: 1})
if (moment === 'in-exec') {
  setTimeout(die, 300)
  await host.exec(['/bin/sh', '-c', 'cd "$0" && exec sleep 60', place.data])
} else {
  const supervisor = createSupervisor({siteId, user, cgroups, membership})
  const size = {name: 'custom', cpu: 1, memory_bytes: 2 ** 28, storage_bytes: 2 ** 30}
  await supervisor.start({place, serverProgram: 'fakedb', bin, size}, fakeCommand(host))
  setTimeout(die, 300)
}
