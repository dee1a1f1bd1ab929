/**
 * esbuild plugin: what oclif requires at the top of its files but a plain command never uses is evaluated at its
 * first use. Measured: a third of the CLI's own start-up time.
 */
import {readFileSync} from 'node:fs'

const packages = ['ejs', 'minimatch', 'tinyglobby', 'clean-stack', 'wrap-ansi', 'indent-string', 'string-width', 'widest-line', 'ansis', 'semver', 'get-package-type']
const builtins = ['node:child_process', 'node:perf_hooks', 'node:readline']

/** Stands for the module: each read, call and construction goes to the real one, loaded then. */
const standIn = (name) => `
let real
const load = () => (real ??= require(${JSON.stringify(name)}))
module.exports = new Proxy(function () {}, {
  get: (_, key) => (key === '__esModule' ? undefined : load()[key]),
  has: (_, key) => key in load(),
  apply: (_, self, args) => Reflect.apply(load(), self, args),
  construct: (_, args) => Reflect.construct(load(), args),
})`

/** debug's own answer when nothing is enabled, without loading it. */
const quietDebug = `
const quiet = () => Object.assign(() => {}, {enabled: false, extend: quiet, namespace: ''})
module.exports = process.env.DEBUG ? require('debug') : Object.assign(quiet, {enable() {}, disable: () => '', enabled: () => false, log() {}, default: quiet})`

export const lazy = {
  name: 'lazy',
  setup(build) {
    const names = [...packages, ...builtins, 'debug']
    build.onResolve({filter: new RegExp(`^(?:${names.join('|')})$`)}, ({path, importer, resolveDir, namespace}) =>
      (namespace === 'file' && importer.includes('/@oclif/core/lib/') ? {path, namespace: 'lazy', pluginData: {resolveDir}} : undefined))
    // See bin/load.js, which hands it in.
    build.onLoad({filter: /@oclif\/core\/lib\/(module-loader|config\/ts-path)\.js$/}, ({path}) => ({
      contents: readFileSync(path, 'utf8').replace(/\bimport\(/g, '__import('), loader: 'js',
    }))
    build.onLoad({filter: /.*/, namespace: 'lazy'}, ({path, pluginData}) => ({
      contents: path === 'debug' ? quietDebug : standIn(path), loader: 'js', resolveDir: pluginData.resolveDir,
    }))
  },
}
