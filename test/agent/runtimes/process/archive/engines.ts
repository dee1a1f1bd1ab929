/** The fake engine as one that no registry has: it comes from the machine, an archive or a folder. */
import type {EngineVersions} from '../../../../../src/engines/engine.js'
import {fakeEngine, fakeSoftware} from '../../../../runtimes/fake-engine.js'

export const archivedVersions: EngineVersions = {
  ...fakeSoftware.versions,
  known: () => [],
  default: '7.2',
  supports: (version) => /^[78](\.|$)/.test(version),
  parseVersion: (output) => /^fakedb \(Fake\) (\d+\.\d+\.\d+)$/m.exec(output)?.[1],
}

export const archivedEngines = {[fakeEngine]: {...fakeSoftware, versions: archivedVersions}}
