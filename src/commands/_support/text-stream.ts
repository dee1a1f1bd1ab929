import {visible} from './render/visible.js'

/** Chunks of text -> whole lines; the last one also when it has no line end. */
export async function* wholeLines(chunks: AsyncIterable<string>): AsyncIterable<string> {
  let rest = ''
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() as string
    yield* lines
  }
  if (rest !== '') yield rest
}

/** Text as it comes. With `json`, one document, or one object a line when it follows. Returns the document. */
export async function printStream(chunks: AsyncIterable<string>, {json, follow}: {json: boolean; follow: boolean}): Promise<unknown> {
  const collected: string[] = []
  for await (const line of wholeLines(chunks)) {
    if (json && !follow) collected.push(line)
    else process.stdout.write(json ? `${JSON.stringify({line})}\n` : `${visible(line)}\n`)
  }
  return json && !follow ? {lines: collected} : undefined
}
