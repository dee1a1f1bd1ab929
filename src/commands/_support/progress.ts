/** Live steps of an operation, on stderr: a spinner line on a terminal, one plain line a step in a pipe. */
import type {ApiOperation} from '../../core/api/schemas.js'
import {paintFor, plain} from './render/paint.js'
import {stepLine, stepText} from './render/steps.js'

export interface Progress {
  update(operation: ApiOperation): void
  close(): void
}

/** `brief`: only where it is now, on a terminal; nothing of it stays. */
export async function openProgress(stream: NodeJS.WriteStream, {brief = false} = {}): Promise<Progress> {
  if (stream.isTTY && process.env.TERM !== 'dumb') return onTerminal(stream, await paintFor(stream), brief)
  return brief ? {update() {}, close() {}} : inPipe(stream)
}

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']
const eraseLine = '\r\u001B[2K'

function onTerminal(stream: NodeJS.WriteStream, paint: Awaited<ReturnType<typeof paintFor>>, brief: boolean): Progress {
  let current: ApiOperation | undefined
  let printed = 0
  let frame = 0
  const cut = (text: string) => [...text].slice(0, Math.max(20, (stream.columns ?? 80) - 1)).join('')
  const draw = () => {
    const step = current?.steps[printed]
    if (step === undefined || step.ended_at !== null) return
    // Cut before painting: an escape sequence cut in half would colour the rest of the terminal.
    const text = cut(`${frames[frame++ % frames.length]} ${stepText(step, Date.now())}`)
    stream.write(`${eraseLine}${paint.cyan(text.slice(0, 1))}${text.slice(1)}`)
  }
  const timer = setInterval(draw, 80)
  return {
    update(operation) {
      current = operation
      for (let step = operation.steps[printed]; step?.ended_at != null; step = operation.steps[++printed]) {
        if (!brief) stream.write(`${eraseLine}${stepLine(step, Date.now(), paint)}\n`)
      }
      draw()
    },
    close() {
      clearInterval(timer)
      stream.write(eraseLine)
    },
  }
}

function inPipe(stream: NodeJS.WriteStream): Progress {
  let printed = 0
  return {
    update(operation) {
      for (let step = operation.steps[printed]; step?.ended_at != null; step = operation.steps[++printed]) {
        stream.write(`${stepLine(step, Date.now(), plain)}\n`)
      }
    },
    close() {},
  }
}
