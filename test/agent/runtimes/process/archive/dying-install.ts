/** An agent that installs an engine and is killed meanwhile: `dying-install.ts STORE FROM CHECKSUM`. Says how far it is. */
import {serviceUser} from '../../../../../src/agent/runtimes/process/service-user.js'
import {createSoftware} from '../../../../../src/agent/runtimes/process/software.js'
import {createSystemVersions} from '../../../../../src/agent/runtimes/process/system-versions.js'
import {archivedEngines} from './engines.js'

const [dataRoot, from, checksum] = process.argv.slice(2) as [string, string, string]
const user = await serviceUser()
const software = createSoftware({
  dataRoot, packagesFolder: dataRoot, engines: archivedEngines, system: createSystemVersions(user, archivedEngines), user, env: process.env, log: () => undefined,
})
await software.prune()
process.stdout.write('begun\n')
await software.install('fake', {version: '7.2', known: null, from, checksum}, (because) => process.stdout.write(`${because}\n`), new AbortController().signal)
process.stdout.write('done\n')
