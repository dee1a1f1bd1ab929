/**
 * Compression. What is written says by which codec, so that a repository may hold several: zstd where Node has it
 * (22.15 and later), else brotli at quality 1, the best that every Node has. Measured per core on PostgreSQL pages: see
 * bench/repository.ts.
 */
import zlib from 'node:zlib'
import {DbaasError} from '../../../core/errors.js'

export const codecs = {raw: 0, gzip: 1, brotli: 2, zstd: 3} as const
export type Codec = keyof typeof codecs

interface OutputOptions {
  readonly chunkSize: number
  readonly maxOutputLength: number
}

/** Node's own, where it has it; its types are those of Node 20. */
const native = zlib as unknown as {
  zstdCompressSync?: (data: Uint8Array, options?: {chunkSize?: number; params?: Record<number, number>}) => Buffer
  zstdDecompressSync?: (data: Uint8Array, options?: OutputOptions) => Buffer
}

export const bestCodec = (): Codec => (native.zstdCompressSync ? 'zstd' : 'brotli')

export function compress(data: Uint8Array, codec: Codec): Buffer | Uint8Array {
  // Output in one piece, not in 16 KiB at a time: a tenth of the time.
  const chunkSize = data.length + 1024
  switch (codec) {
    case 'raw': return data
    case 'gzip': return zlib.gzipSync(data, {chunkSize, level: 1})
    case 'brotli': {
      const {BROTLI_PARAM_QUALITY, BROTLI_PARAM_LGWIN, BROTLI_PARAM_SIZE_HINT} = zlib.constants
      // a window of 256 KiB: its tables fit the cache, and pages are alike within it
      return zlib.brotliCompressSync(data, {chunkSize, params: {[BROTLI_PARAM_QUALITY]: 1, [BROTLI_PARAM_LGWIN]: 18, [BROTLI_PARAM_SIZE_HINT]: data.length}})
    }
    case 'zstd': {
      if (!native.zstdCompressSync) throw new DbaasError('NOT_SUPPORTED', `Node ${process.versions.node} has no zstd`)
      return native.zstdCompressSync(data, {chunkSize, params: {100: 1}}) // ZSTD_c_compressionLevel
    }
  }
}

/** `code` is a number of `codecs`; `length` what comes out: anything else is damage, and throws. */
export function decompress(data: Uint8Array, code: number, length: number): Uint8Array {
  const options: OutputOptions = {chunkSize: Math.max(length, 64), maxOutputLength: Math.max(length, 1)}
  const result = code === codecs.raw ? data
    : code === codecs.gzip ? zlib.gunzipSync(data, options)
    : code === codecs.brotli ? zlib.brotliDecompressSync(data, options)
    : code === codecs.zstd ? unzstd(data, options)
    : undefined
  if (result === undefined) throw new Error(`it is compressed by codec ${code}, which this version does not know`)
  if (result.length !== length) throw new Error(`it holds ${result.length} bytes where ${length} were written`)
  return result
}

function unzstd(data: Uint8Array, options: OutputOptions): Buffer {
  if (native.zstdDecompressSync) return native.zstdDecompressSync(data, options)
  throw new DbaasError('NOT_SUPPORTED', `the backup is compressed by zstd, and Node ${process.versions.node} has none`, {
    suggestions: ['run dbaas with Node 22.15 or later'],
  })
}

/** Compressed if that makes it smaller, with the codec's number in front and the length: u8, u32 LE, bytes. */
export function pack(data: Uint8Array, codec: Codec): Uint8Array[] {
  const small = data.length < 64 ? data : compress(data, codec)
  const smaller = small.length < data.length
  const header = Buffer.alloc(5)
  header[0] = smaller ? codecs[codec] : codecs.raw
  header.writeUInt32LE(data.length, 1)
  return [header, smaller ? small : data]
}

/** The other way round; throws a plain Error, which the caller makes REPOSITORY_DAMAGED with the object's name. */
export function unpack(packed: Buffer): Uint8Array {
  if (packed.length < 5) throw new Error('it is too short')
  return decompress(packed.subarray(5), packed[0] as number, packed.readUInt32LE(1))
}
