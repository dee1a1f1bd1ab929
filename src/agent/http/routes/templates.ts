import {ok} from '../handler.js'
import type {HandlersOf} from '../handler.js'

export const templateRoutes = {
  'templates.list': async ({principal, params}, {configuration}) =>
    ok({templates: await configuration.templates(principal, params.engine)}),
  'templates.get': async ({principal, params}, {configuration}) =>
    ok({template: await configuration.template(principal, params.engine, params.template)}),
  'templates.save': async ({principal, params, body}, {configuration}) =>
    ok({template: await configuration.saveTemplate(principal, params.engine, params.template, body)}),
  'templates.delete': async ({principal, params}, {configuration}) => {
    await configuration.deleteTemplate(principal, params.engine, params.template)
    return ok({deleted: true} as const)
  },
} satisfies HandlersOf<'templates'>
