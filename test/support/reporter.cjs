// Mocha's spec reporter, and the line that ends a run: `N passed, N failed`, `, N skipped` where there are some.
// scripts/test.js adds its own checks to the counts: for it they go to the file that DBAAS_TEST_COUNTS names.
const {writeFileSync} = require('node:fs')
const {reporters, Runner} = require('mocha')

module.exports = class Reporter extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options)
    runner.once(Runner.constants.EVENT_RUN_END, () => {
      const {passes: passed, failures: failed, pending: skipped} = this.stats
      const file = process.env.DBAAS_TEST_COUNTS
      if (file) writeFileSync(file, JSON.stringify({passed, failed, skipped}))
      // After the epilogue, which lists the failures in the same event.
      else process.once('exit', () => process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`))
    })
  }
}
