/** What holds for every container of ours: no privilege, nothing writable but its own, its words bounded. */
import type Docker from 'dockerode'

const logFileBytes = '16m'
const logFiles = '4'

export const hardened: Docker.HostConfig = {
  // a server that ends is brought back by the agent, which knows whether it should run
  RestartPolicy: {Name: 'no'},
  CapDrop: ['ALL'],
  SecurityOpt: ['no-new-privileges:true'],
  Privileged: false,
  ReadonlyRootfs: true,
  // docker-init may not be there; the first process of ours waits for its children
  Init: false,
  Tmpfs: {'/tmp': 'rw,nosuid,nodev,noexec,size=64m,mode=1777', '/run': 'rw,nosuid,nodev,noexec,size=16m,mode=1777'},
  LogConfig: {Type: 'json-file', Config: {'max-size': logFileBytes, 'max-file': logFiles}},
  PidsLimit: 4096,
}

/**
 * Each folder that the image declares a volume gets an empty one in memory: else Docker would make a volume without
 * a name for it, which nobody removes.
 */
export const masks = (volumes: readonly string[]): Docker.MountSettings[] =>
  volumes.map((target) => ({Type: 'tmpfs', Target: target, Source: '', TmpfsOptions: {SizeBytes: 1024 ** 2, Mode: 0o1777}}) as unknown as Docker.MountSettings)
