import {setTimeout as sleep} from 'node:timers/promises'
import {paintFor} from './render/paint.js'
import type {Paint} from './render/paint.js'

const periodMs = 1000

/**
 * Reads and shows again each second until interrupted or `read` throws. On a terminal the screen is redrawn in
 * place; in a pipe a screen is printed when it changed; as JSON, one object a line.
 */
export async function watch<T>(read: () => Promise<T>, render: (data: T, paint: Paint) => string, json: boolean): Promise<never> {
  const stream = process.stdout
  const paint = await paintFor(stream)
  let shown = ''
  for (;;) {
    const data = await read()
    if (json) stream.write(`${JSON.stringify(data)}\n`)
    else {
      const screen = render(data, paint)
      // Home, then each line cleared to its end, then the rest of the screen: no flicker, nothing left over.
      if (stream.isTTY) stream.write(`${shown === '' ? '\u001B[2J' : ''}\u001B[H${screen.replaceAll('\n', '\u001B[K\n')}\u001B[J`)
      else if (screen !== shown) stream.write(screen)
      shown = screen
    }
    await sleep(periodMs)
  }
}
