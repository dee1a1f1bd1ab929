/**
 * Times of a cron expression, in UTC: `minute hour day-of-month month day-of-week`, as in POSIX crontab(5), with lists,
 * ranges, steps, names (`mon`, `jan`), and `@hourly`, `@daily`, `@weekly`, `@monthly`. As there, a day counts when
 * either day field says so, if both are restricted. UTC has no hour that comes twice or never.
 */
import {DbaasError} from '../errors.js'
import {nearest} from '../nearest.js'

export interface Cron {
  /** The first moment after, at a whole minute. Milliseconds since the epoch. */
  next(after: number): number
  /** The last moment at or before. */
  previous(at: number): number
}

const minuteMs = 60_000
/** The 29th of February comes at least every eight years. */
const horizonDays = 8 * 366 + 1

const words: Readonly<Record<string, string>> = {
  '@hourly': '0 * * * *', '@daily': '0 0 * * *', '@midnight': '0 0 * * *', '@weekly': '0 0 * * 0', '@monthly': '0 0 1 * *',
}
const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']

interface Field {
  readonly name: string
  readonly min: number
  readonly max: number
  readonly names?: readonly string[]
}

const fields: readonly Field[] = [
  {name: 'minute', min: 0, max: 59},
  {name: 'hour', min: 0, max: 23},
  {name: 'day of the month', min: 1, max: 31},
  {name: 'month', min: 1, max: 12, names: months},
  // 7 is Sunday, too
  {name: 'day of the week', min: 0, max: 7, names: days},
]

/** Throws INVALID_REQUEST, naming the field. */
export function parseCron(text: string): Cron {
  const clean = text.trim().toLowerCase()
  if (clean.startsWith('@') && words[clean] === undefined) {
    const near = nearest(clean, Object.keys(words))
    throw invalid(text, `there is no ${clean}`, near ? [`did you mean ${near}?`] : [])
  }
  const parts = (words[clean] ?? clean).split(/\s+/)
  if (parts.length !== 5) throw invalid(text, `it has ${parts.length} field${parts.length === 1 ? '' : 's'}, and a schedule has five: minute hour day month weekday`)
  const [minutes, hours, dates, monthSet, weekdays] = fields.map((field, i) => parseField(text, parts[i] as string, field)) as
    [Set<number>, Set<number>, Set<number>, Set<number>, Set<number>]
  if (weekdays.has(7)) weekdays.add(0)
  const either = !(parts[2] as string).startsWith('*') && !(parts[4] as string).startsWith('*')
  const isDay = (at: Date): boolean => {
    if (!monthSet.has(at.getUTCMonth() + 1)) return false
    const [date, weekday] = [dates.has(at.getUTCDate()), weekdays.has(at.getUTCDay())]
    return either ? date || weekday : date && weekday
  }
  const times = [...hours].sort((a, b) => a - b).flatMap((h) => [...minutes].sort((a, b) => a - b).map((m) => (h * 60 + m) * minuteMs))

  /** The times of a day are the same every day, so days are looked at, not minutes. */
  function search(from: number, step: 1 | -1, fits: (at: number) => boolean): number | undefined {
    const start = Math.floor(from / (1440 * minuteMs)) * 1440 * minuteMs
    for (let i = 0; i < horizonDays; i++) {
      const day = start + step * i * 1440 * minuteMs
      if (!isDay(new Date(day))) continue
      const ordered = step === 1 ? times : [...times].reverse()
      const found = ordered.map((time) => day + time).find(fits)
      if (found !== undefined) return found
    }
    return undefined
  }
  const never = (): DbaasError => invalid(text, 'it never comes')
  const cron: Cron = {
    next(after) {
      const found = search(after, 1, (at) => at > after)
      if (found === undefined) throw never()
      return found
    },
    previous(at) {
      const found = search(at, -1, (time) => time <= at)
      if (found === undefined) throw never()
      return found
    },
  }
  // the 31st of February: said now, not when it should have come
  cron.next(Date.UTC(2024, 0, 1))
  return cron
}

function parseField(text: string, part: string, {name, min, max, names}: Field): Set<number> {
  const found = new Set<number>()
  const wrong = (because: string): DbaasError => invalid(text, `the ${name} "${part}" ${because}`)
  const valueOf = (word: string): number => {
    const named = names?.indexOf(word.slice(0, 3)) ?? -1
    if (named >= 0 && (names?.[named] === word || word.length > 3)) return named + (names === months ? 1 : 0)
    if (!/^\d{1,2}$/.test(word)) throw wrong(`is not a number${names ? ` nor one of ${names.join(', ')}` : ''}`)
    return Number(word)
  }
  for (const item of part.split(',')) {
    const [range = '', stepText, ...rest] = item.split('/')
    const step = stepText === undefined ? 1 : Number(stepText)
    if (rest.length > 0 || (stepText !== undefined && (!/^\d{1,2}$/.test(stepText) || step < 1))) throw wrong('has no proper step')
    const [first, last, ...more] = range.split('-')
    if (more.length > 0 || first === undefined || first === '' || last === '') throw wrong('is not a range')
    const from = first === '*' ? min : valueOf(first)
    const to = last !== undefined ? valueOf(last) : first === '*' || stepText !== undefined ? max : from
    if (from < min || to > max || from > to) throw wrong(`is not within ${min} to ${max}`)
    for (let value = from; value <= to; value += step) found.add(value)
  }
  return found
}

const invalid = (text: string, because: string, suggestions: readonly string[] = []): DbaasError =>
  new DbaasError('INVALID_REQUEST', `"${text}" is not a schedule: ${because}`, {
    details: {value: text}, suggestions: [...suggestions, 'write five fields, in UTC: "30 2 * * *" is every day at 02:30', '@daily, @hourly, @weekly, @monthly'],
  })
