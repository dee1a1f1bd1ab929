import assert from 'node:assert/strict'
import {spawn} from 'node:child_process'
import {existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {createCgroups, parseMounts, type Hierarchy} from '../../../../src/agent/runtimes/process/cgroups.js'
import {ownLimits} from '../../../../src/agent/runtimes/process/facts.js'
import {temporaryFolder} from '../../../support/temporary.js'

const size = {name: 'custom', cpu: 0.5, memory_bytes: 256 * 1024 ** 2, storage_bytes: 1}

describe('control groups', () => {
  it('are found in the mounts of v1, of v2, and of both at once', () => {
    const lines = [
      '31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw',
      '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct',
      '35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory',
      '40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd',
      '41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw', '',
    ].join('\n')
    assert.deepEqual(parseMounts(lines, () => 'hugetlb\n'), [
      {version: 1, root: '/sys/fs/cgroup/cpu,cpuacct', controllers: ['cpu', 'cpuacct']},
      {version: 1, root: '/sys/fs/cgroup/memory', controllers: ['memory']},
    ] satisfies Hierarchy[])
    assert.deepEqual(parseMounts('29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n', () => 'cpuset cpu io memory pids\n'), [
      {version: 2, root: '/sys/fs/cgroup', controllers: ['cpu', 'memory']},
    ] satisfies Hierarchy[])
  })

  it('say why they enforce nothing where they may not be written or are not mounted', () => {
    const {limits} = createCgroups('site_x', [{version: 1, root: '/proc/nowhere', controllers: ['cpu']}])
    assert.deepEqual([limits.cpu.enforced, limits.memory.enforced], [false, false])
    assert.match(String(limits.cpu.because), /\/proc\/nowhere cannot be written: ENOENT/)
    assert.match(String(limits.memory.because), /memory controller/)
  })

  it('limit a real process and all it starts, live, and are gone with it', async function () {
    const siteId = `site_${Math.random().toString(36).slice(2).padStart(12, 'x')}`
    const cgroups = createCgroups(siteId)
    if (!cgroups.limits.memory.enforced || !cgroups.limits.cpu.enforced) return this.skip()
    const child = spawn('/bin/sh', ['-c', 'read -r go; setsid sleep 30 & wait'], {stdio: ['pipe', 'ignore', 'ignore']})
    const pid = child.pid as number
    cgroups.apply('nod_1', size)
    cgroups.admit('nod_1', pid)
    child.stdin.end('go\n')
    for (let i = 0; i < 100 && cgroups.members('nod_1').length < 2; i++) await new Promise((resolve) => setTimeout(resolve, 10))
    assert.equal(cgroups.members('nod_1').length, 2)
    assert.ok(cgroups.members('nod_1').includes(pid))
    const limits = (): string[] => readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n').flatMap((line) => {
      const [, controllers, path] = line.split(':')
      if (!path?.includes('dbaas-')) return []
      const at = controllers === '' ? join('/sys/fs/cgroup', path) : join('/sys/fs/cgroup', controllers as string, path)
      return ['memory.limit_in_bytes', 'memory.max', 'cpu.cfs_quota_us', 'cpu.max'].map((name) => join(at, name))
        .filter(existsSync).map((file) => readFileSync(file, 'utf8').trim())
    })
    assert.deepEqual(new Set(limits().map((text) => text.split(' ')[0])), new Set([String(256 * 1024 ** 2), '50000']))
    cgroups.apply('nod_1', {...size, cpu: 2})
    assert.deepEqual(new Set(limits().map((text) => text.split(' ')[0])), new Set([String(256 * 1024 ** 2), '200000']))
    assert.ok((cgroups.usage('nod_1').memoryBytes ?? 0) > 0)
    assert.ok((cgroups.usage('nod_1').cpuSeconds ?? -1) >= 0)
    for (const member of cgroups.members('nod_1')) process.kill(member, 'SIGKILL')
    await cgroups.remove('nod_1')
    assert.deepEqual(cgroups.members('nod_1'), [])
    for (const controller of ['cpu', 'memory', 'cpuacct', '.']) {
      assert.equal(existsSync(join('/sys/fs/cgroup', controller, `dbaas-${siteId.slice(-12)}`)), false)
    }
  })

  it('of our own lower what the site may promise, at any height, v1 and v2', () => {
    const folder = temporaryFolder('own-limits')
    try {
      const write = (path: string, text: string) => {
        mkdirSync(join(folder.path, path, '..'), {recursive: true})
        writeFileSync(join(folder.path, path), text)
      }
      write('memory/a/memory.limit_in_bytes', '1048576\n')
      write('memory/a/memory.usage_in_bytes', '4096\n')
      write('memory/a/b/memory.limit_in_bytes', '9223372036854771712\n')
      write('cpu/a/cpu.cfs_quota_us', '150000\n')
      write('cpu/a/cpu.cfs_period_us', '100000\n')
      assert.deepEqual(ownLimits('5:memory:/a/b\n1:cpu:/a/b\n', folder.path), {cpus: 1.5, memoryBytes: 1048576, memoryUsedBytes: 4096})
      write('s/cpu.max', '50000 100000\n')
      write('s/memory.max', 'max\n')
      assert.deepEqual(ownLimits('0::/s/t\n', folder.path), {cpus: 0.5, memoryBytes: undefined, memoryUsedBytes: undefined})
      assert.deepEqual(ownLimits('', folder.path), {cpus: undefined, memoryBytes: undefined, memoryUsedBytes: undefined})
    } finally {
      folder.dispose()
    }
  })
})
