/**
 * Loads the built CLI as require() would, but from V8's code cache, which the build leaves beside it: 20 ms of 70 on
 * Node 20. V8 itself refuses a cache that another version of it made; then the file is compiled as ever.
 */
import {readFileSync} from 'node:fs'
import Module, {createRequire} from 'node:module'
import {dirname} from 'node:path'
import vm from 'node:vm'

/** `import()` is handed in as a function: code that node:vm compiled has one of its own, which warns on stderr. */
const wrap = (code) => `(function (exports, require, module, __filename, __dirname, __import) {${code}\n})`

/** The module's exports, and the script for whoever makes the cache. */
export function load(file, cachedData) {
  const script = new vm.Script(wrap(readFileSync(file, 'utf8')), {filename: file, cachedData})
  const module = new Module(file)
  module.filename = file
  module.loaded = true
  const require = createRequire(file)
  // oclif requires the file again to find the commands in it.
  require.cache[file] = module
  script.runInThisContext()(module.exports, require, module, file, dirname(file), (specifier) => import(specifier))
  return {exports: module.exports, script}
}
