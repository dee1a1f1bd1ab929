/**
 * esbuild plugin: packages that only some commands use stay out of the CLI's file, in files of their own beside it,
 * which are read when they are first required.
 */
export const apart = (packages) => ({
  name: 'apart',
  setup(build) {
    build.onResolve({filter: new RegExp(`^(?:${packages.join('|')})$`)}, ({path, namespace}) =>
      (namespace === 'file' ? {path, namespace: 'apart'} : undefined))
    build.onResolve({filter: /^\.\/packages\/.*\.cjs$/}, ({path, namespace}) => (namespace === 'apart' ? {path, external: true} : undefined))
    build.onLoad({filter: /.*/, namespace: 'apart'}, ({path}) => ({contents: `module.exports = require('./packages/${path}.cjs')`, loader: 'js'}))
  },
})
