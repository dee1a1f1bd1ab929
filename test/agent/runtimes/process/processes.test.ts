import assert from 'node:assert/strict'
import {spawn} from 'node:child_process'
import fc from 'fast-check'
import {bootId, identify, isAlive, parseStat, snapshot, withDescendants, type ProcessInfo} from '../../../../src/agent/runtimes/process/processes.js'
import {parseRef, refOf} from '../../../../src/agent/runtimes/process/record.js'
import {parsePasswd} from '../../../../src/agent/runtimes/process/service-user.js'

describe('the identity of a process', () => {
  it('is read from its line whatever its name holds', () => {
    fc.assert(fc.property(fc.string(), fc.integer({min: 1, max: 2 ** 22}), fc.integer({min: 0, max: 2 ** 50}), (name, parent, start) => {
      const zeros = (count: number) => Array(count).fill('0').join(' ')
      const line = `77 (${name}) S ${parent} ${zeros(9)} 1 2 3 4 ${zeros(4)} ${start} ${zeros(20)}\n`
      assert.deepEqual(parseStat(line), {state: 'S', parent, startTicks: start, cpuTicks: 10})
    }), {numRuns: 200})
  })

  it('survives being written down, and nothing else is taken for one', () => {
    const identity = {pid: fc.integer({min: 2, max: 2 ** 22}), startTicks: fc.nat(), bootId: fc.uuid()}
    fc.assert(fc.property(fc.record(identity), (each) => assert.deepEqual(parseRef(refOf(each)), {...each})), {numRuns: 100})
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => assert.equal(parseRef(text), undefined)), {numRuns: 200})
  })

  it('is alive until it ends; a zombie is dead, and so is another start or another boot', async () => {
    const me = identify(process.pid)
    assert.ok(me && isAlive(me))
    assert.equal(isAlive({...me, startTicks: me.startTicks + 1}), false)
    assert.equal(isAlive({...me, bootId: `${bootId()}x`}), false)
    // the shell becomes a sleep that never waits for its child
    const shell = spawn('/bin/sh', ['-c', 'sleep 0.05 & echo $!; exec sleep 30'], {stdio: ['ignore', 'pipe', 'ignore']})
    const pid = Number(await new Promise((resolve) => shell.stdout.once('data', (data) => resolve(String(data)))))
    await new Promise((resolve) => setTimeout(resolve, 200))
    assert.doesNotThrow(() => process.kill(pid, 0), 'there is a zombie')
    assert.equal(identify(pid), undefined)
    shell.kill('SIGKILL')
    await new Promise((resolve) => shell.once('exit', resolve))
    assert.equal(identify(shell.pid as number), undefined)
  })

  it('is found with its descendants', async () => {
    const shell = spawn('/bin/sh', ['-c', 'setsid sh -c "sleep 30 & sleep 30" & echo; wait'], {stdio: ['ignore', 'pipe', 'ignore'], detached: true})
    await new Promise((resolve) => shell.stdout.once('data', resolve))
    let family = new Set<number>()
    for (let i = 0; i < 100 && family.size < 4; i++) {
      family = withDescendants(snapshot(process.getuid?.() ?? 0), [shell.pid as number])
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    assert.equal(family.size, 4)
    for (const pid of family) process.kill(pid, 'SIGKILL')
  })

  it('has the descendants that any tree of parents says', () => {
    const tree = fc.array(fc.nat(), {minLength: 1, maxLength: 40})
    fc.assert(fc.property(tree, fc.nat(), (parents, root) => {
      const blank = {startTicks: 0, program: '', executable: undefined, workingFolder: undefined, site: undefined, node: undefined, role: undefined}
      const byPid = new Map<number, ProcessInfo>(parents.map((parent, pid) => [pid, {...blank, pid, parent: pid === 0 ? -1 : parent % pid}]))
      const start = root % parents.length
      const isBelow = (pid: number): boolean => pid === start || (pid > start && isBelow(byPid.get(pid)?.parent ?? -1))
      const expected = [...byPid.keys()].filter(isBelow)
      assert.deepEqual([...withDescendants({byPid}, [start])].sort((a, b) => a - b), expected)
    }), {numRuns: 200})
  })
})

describe('the user of servers', () => {
  it('is read from the passwd file, never root, negative ids as the kernel has them', () => {
    const text = 'root:x:0:0:root:/root:/bin/sh\ndbaas:x:999:995::/nonexistent:/usr/sbin/nologin\nnobody:*:-2:-2:x:/:/usr/bin/false\nbad:x:y:1::\ndbaas2:x:1:1::/:\n'
    assert.deepEqual(parsePasswd(text, 'dbaas'), {name: 'dbaas', uid: 999, gid: 995, separate: true})
    assert.deepEqual(parsePasswd(text, 'nobody'), {name: 'nobody', uid: 4294967294, gid: 4294967294, separate: true})
    for (const name of ['root', 'bad', 'dba', '']) assert.equal(parsePasswd(text, name), undefined, name)
  })
})
