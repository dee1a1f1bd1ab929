/**
 * Takes the data of a copy out of the stream of messages before the driver puts its messages together: a base backup comes in
 * messages that are larger than what a socket gives at once, and joining those costs a copy and much garbage.
 */

/** CopyData: PostgreSQL documentation, 54.7. */
const copyData = 0x64
const headerBytes = 5

export interface Frames {
  /** What the socket gave. */
  push(bytes: Buffer): void
}

export interface FrameHandler {
  /** Whether parts of copies are wanted now; asked at the beginning of each. */
  wantsParts(): boolean
  part(bytes: Buffer, isStart: boolean, isEnd: boolean): void
  /** Everything else, as it came. */
  pass(bytes: Buffer): void
}

/** The first byte must be the first of a message. */
export function createFrames(handler: FrameHandler): Frames {
  const header = Buffer.alloc(headerBytes)
  let headed = 0
  let left = 0
  let isPart = false
  let isStart = false

  function pass(bytes: Buffer, from: number, to: number): void {
    if (to > from) handler.pass(bytes.subarray(from, to))
  }

  return {
    push(bytes) {
      let passFrom = 0
      for (let at = 0; at < bytes.length; ) {
        if (left > 0) {
          const length = Math.min(left, bytes.length - at)
          if (isPart) {
            pass(bytes, passFrom, at)
            handler.part(bytes.subarray(at, at + length), isStart, length === left)
            isStart = false
            passFrom = at + length
          }
          at += length
          left -= length
          continue
        }
        const began = at
        const copied = bytes.copy(header, headed, at, at + headerBytes - headed)
        at += copied
        headed += copied
        if (headed < headerBytes) {
          // whose header it is, is not known: it is kept here, and passed on when it is
          pass(bytes, passFrom, began)
          passFrom = bytes.length
          break
        }
        const wasSplit = copied < headerBytes
        headed = 0
        left = header.readUInt32BE(1) + 1 - headerBytes
        isPart = header[0] === copyData && left > 0 && handler.wantsParts()
        isStart = true
        if (isPart) {
          pass(bytes, passFrom, began)
          passFrom = at
        } else if (wasSplit) {
          handler.pass(Buffer.from(header))
          passFrom = at
        }
      }
      pass(bytes, passFrom, bytes.length)
    },
  }
}
