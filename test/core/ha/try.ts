import {World, kinds, Violation} from './world.js'
let seed = 1
const rnd = () => { seed = (seed * 1103515245 + 12345) & 0x7fffffff; return seed / 0x7fffffff }
const weights = {agent: 14, half: 2, work: 3, commit: 4, write: 3, stream: 8, reload: 1, kill: 2, hang: 1, deafen: 0.5, cut: 1.5, unlink: 1, 'crash-agent': 0.7, panic: 0.7, wish: 0.6, request: 0.6}
const bag = kinds.flatMap(k => Array(Math.round(weights[k]*10)).fill(k))
const t = Date.now(); let n = 0, steps=0; const worst = {}
while (Date.now() - t < 20000 ) {
  n++
  seed = n * 7919
  const nodes = 2 + Math.floor(rnd()*3)
  const k = Math.min(nodes-1, 1 + Math.floor(rnd()*2))
  const w = new World({nodes, wanted: {k, voters: Math.min(nodes-1, k + Math.floor(rnd()*2))}, strict: true})
  try {
    if (rnd() < 0.8) w.settle()
    const len = 20 + Math.floor(rnd()*100)
    for (let i = 0; i < len; i++) { steps++; w.happen([bag[Math.floor(rnd()*bag.length)], Math.floor(rnd()*4), Math.floor(rnd()*4)]) }
    const r = w.settle(); worst[r] = (worst[r] ?? 0) + 1
  } catch (e) { console.log('walk', n, 'nodes', nodes, e instanceof Violation ? e.message : e.stack); console.log(w.story.filter((l,i,a)=>!(l===a[i-1])).slice(-60).join('\n')); console.log(w.durable); for (const [id,s] of w.servers) console.log(id, JSON.stringify({...s, process: s.process && {...s.process, known: [...s.process.known]}})); break }
}
console.log(n, 'walks', steps, 'steps', worst)
