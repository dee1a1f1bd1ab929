/** oclif's command_not_found hook: USAGE, with the command that was probably meant. */
import type {Hook} from '@oclif/core/hooks'
import {DbaasError} from '../../core/errors.js'
import {nearest} from '../../core/nearest.js'

const hook: Hook<'command_not_found'> = async ({id, argv, config}) => {
  const typed = id.replaceAll(':', ' ')
  const ids = config.commands.filter((command) => !command.hidden).map((command) => command.id.replaceAll(':', ' '))
  // Of several words the last may be an argument: `confg show demo` was meant as `config show`.
  const words = [...typed.split(' '), ...(argv ?? [])].filter((word) => !word.startsWith('-'))
  const tries = [words.length, 3, 2, 1].filter((count) => count <= words.length).map((count) => words.slice(0, count).join(' '))
  const topic = ids.filter((name) => name.startsWith(`${words[0]} `))
  const near = tries.map((attempt) => nearest(attempt, ids)).find((found) => found !== undefined)
    ?? nearest(words[0] ?? '', new Set(ids.map((name) => name.split(' ')[0] as string)))
  const command = words.slice(0, topic.length > 0 ? 2 : 1).join(' ')
  throw new DbaasError('USAGE', `dbaas has no command "${command}"`, {
    details: {command},
    suggestions: [
      ...(near ? [`did you mean: dbaas ${near}`] : []),
      ...(topic.length > 0 ? [`dbaas ${words[0]} has: ${topic.map((name) => name.slice((words[0] as string).length + 1)).join(', ')}`] : []),
      'dbaas help',
    ],
  })
}
export default hook
