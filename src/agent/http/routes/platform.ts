import {defaultSize, sizes} from '../../../core/instance/sizes.js'
import {accepted, ok} from '../handler.js'
import type {HandlersOf} from '../handler.js'

const defaultLogLines = 100

export const platformRoutes = {
  'health.get': async ({principal}, {platform}) => ok(await platform.health(principal)),
  'agent.get': async ({principal}, {platform}) => ok({agent: await platform.agent(principal)}),
  'agent.stop': async ({principal}, {platform}) => {
    await platform.stop(principal)
    return accepted({stopping: true} as const)
  },
  'agent.adopt': async ({principal, body}, {adoption}) => {
    const result = await adoption.adopt(principal, body)
    return 'plan' in result ? ok(result) : accepted(result)
  },
  'agent.logs': async ({principal, query}, {platform}) => ({
    text: await platform.logs(principal, query.lines ?? defaultLogLines),
  }),
  'doctor.get': async ({principal}, {platform}) => ok({checks: await platform.doctor(principal)}),
  'sizes.list': async () => ok({sizes: Object.values(sizes), default: defaultSize}),
} satisfies HandlersOf<'health' | 'agent' | 'doctor' | 'sizes'>
