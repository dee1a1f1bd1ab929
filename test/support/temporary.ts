import {mkdtempSync, rmSync, chmodSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'

/** A folder of its own that the unprivileged server user can enter; `dispose` removes it. */
export function temporaryFolder(name: string): {path: string; dispose(): void} {
  const path = mkdtempSync(join(tmpdir(), `dbaas-test-${name}-`))
  chmodSync(path, 0o755)
  return {path, dispose: () => rmSync(path, {recursive: true, force: true})}
}
