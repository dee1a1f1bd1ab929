#!/usr/bin/env node
// The CLI from source: no build needed, slower. The agent it starts is still the built one.
import {register} from 'tsx/esm/api'
import {fileURLToPath} from 'node:url'

register()
const {main} = await import('../src/commands/_support/main.ts')
await main(process.argv.slice(2), {
  root: fileURLToPath(new URL('..', import.meta.url)),
  source: {
    commands: {strategy: 'pattern', target: './src/commands', globPatterns: ['**/*.ts', '!**/_*/**']},
    hooks: {command_not_found: './src/commands/_support/not-found.ts'},
  },
})
