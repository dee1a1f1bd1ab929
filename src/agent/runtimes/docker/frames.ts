/**
 * The streams of a container without a terminal: frames of one byte for the stream, three of nothing, four for the length,
 * then the content (Docker Engine API, "Attach to a container", stream format).
 */
const headerBytes = 8
const stderrType = 2

export interface Frame {
  readonly stream: 'stdout' | 'stderr'
  readonly content: Buffer
}

/** Takes pieces as they come, gives the frames that are whole. */
export function createFrameReader(): (piece: Buffer) => Frame[] {
  let rest: Buffer = Buffer.alloc(0)
  return (piece) => {
    rest = rest.length === 0 ? piece : Buffer.concat([rest, piece])
    const frames: Frame[] = []
    let start = 0
    while (rest.length - start >= headerBytes) {
      const length = rest.readUInt32BE(start + 4)
      const end = start + headerBytes + length
      if (rest.length < end) break
      frames.push({stream: rest[start] === stderrType ? 'stderr' : 'stdout', content: rest.subarray(start + headerBytes, end)})
      start = end
    }
    rest = rest.subarray(start)
    return frames
  }
}

/** Both streams of a whole answer as one text, in the order of their frames. */
export const splitFrames = (answer: Buffer): string =>
  createFrameReader()(answer).map(({content}) => content.toString('utf8')).join('')
