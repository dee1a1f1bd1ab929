import type {EngineConfig} from '../engine.js'
import {readCatalogue, readParameters, verifyParameters} from './catalogue.js'
import {filesOf, renderFiles} from './files.js'
import {memoryNeeded, preflight} from './preflight.js'
import {templates} from './templates.js'
import {fromSize} from './tuning.js'
import {sameValue, whyNotValid} from './values.js'

export const config: EngineConfig = {
  templates,
  fromSize,
  readCatalogue,
  whyNotValid,
  preflight,
  memoryNeeded,
  sameValue,
  read: readParameters,
  verify: verifyParameters,

  async write(host, settings) {
    let changed = false
    // The node's own, which nobody but its replication writes; the server complains in its log of a file that is not there.
    const own = filesOf(host).replication
    if (!(await host.exists(own))) await host.write({path: own, content: '# Written by dbaas; changes are overwritten.\n'})
    for (const file of renderFiles(host, settings)) {
      const present = await host.read(file.path)
      if (present !== undefined && present.equals(Buffer.from(file.content))) continue
      await host.write(file)
      changed = true
    }
    return changed
  },
}
