/**
 * A reader of repositories, written from docs/repository-format.md alone: nothing of dbaas is imported. Slow, simple, whole
 * objects in memory. `read(folder, masterKey, incarnation, number)` gives {files: Map(path -> Buffer), meta}.
 */
import {createDecipheriv, createHash, createHmac, hkdfSync} from 'node:crypto'
import {existsSync, readdirSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import zlib from 'node:zlib'

const MIB = 1048576
const bind = (...parts) => Buffer.from(JSON.stringify(['dbaas-repository/1', ...parts]))
const sha256 = (bytes) => createHash('sha256').update(bytes).digest()
const hmac = (key, ...parts) => parts.reduce((h, part) => h.update(part), createHmac('sha256', key)).digest()
const hkdf = (key, salt, info) => Buffer.from(hkdfSync('sha256', key, salt, info, 32))
const n8 = (n) => String(n).padStart(8, '0')
const must = (condition, what) => {
  if (!condition) throw new Error(what)
}

function unseal(key, binding, sealed) {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12))
  decipher.setAAD(binding)
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()])
}

function unpack(packed) {
  const body = packed.subarray(5)
  const data = [() => body, () => zlib.gunzipSync(body), () => zlib.brotliDecompressSync(body), () => zlib.zstdDecompressSync(body)][packed[0]]()
  must(data.length === packed.readUInt32LE(1), 'a length does not match')
  return data
}

function openRepository(folder, masterKey, incarnation) {
  const description = JSON.parse(readFileSync(join(folder, 'repository'), 'utf8'))
  must(description.format === 'dbaas-repository' && description.version === 1, 'another format')
  const generation = readdirSync(join(folder, incarnation, 'keys')).sort().at(-1)
  const wrapped = readFileSync(join(folder, incarnation, 'keys', generation))
  must(wrapped.length === 108 && wrapped.toString('latin1', 0, 8) === 'dbaasKY1', 'no wrapped key')
  must(sha256(wrapped.subarray(0, 76)).equals(wrapped.subarray(76)), 'the wrapped key is damaged')
  const id = wrapped.subarray(8, 16)
  must(sha256(Buffer.concat([bind('master key'), masterKey])).subarray(0, 8).equals(id), 'another master key')
  const data = unseal(masterKey, bind('data key', description.id, incarnation, `keys/${generation}`, id.toString('hex')), wrapped.subarray(16, 76))
  const key = (name) => hkdf(data, incarnation, bind(name))
  const keys = {id: key('id'), page: key('page'), pack: key('pack'), object: key('object')}
  const object = (name) => {
    const bytes = readFileSync(join(folder, incarnation, name))
    must(bytes.toString('latin1', 0, 8) === 'dbaasSL1', `${name} is no sealed object`)
    must(sha256(bytes.subarray(0, -32)).equals(bytes.subarray(-32)), `${name} is damaged`)
    return {bytes, plain: unpack(unseal(keys.object, bind('object', incarnation, name), bytes.subarray(8, -32)))}
  }
  return {keys, object}
}

export function read(folder, masterKey, incarnation, number) {
  const {keys, object} = openRepository(folder, masterKey, incarnation)
  const snapshot = JSON.parse(object(`snapshots/${n8(number)}`).plain)
  must(snapshot.kind === 'snapshot' && snapshot.number === number, 'no snapshot')
  const tree = object(`trees/${n8(number)}`)
  must(sha256(tree.bytes).toString('hex') === snapshot.tree.sha256, 'another tree')
  const end = 4 + tree.plain.readUInt32LE(0)
  const lines = tree.plain.toString('utf8', 4, end).split('\n')
  must(lines.pop() === '', 'the header does not end with its last line')
  const [counts, ...rest] = lines.map((line) => JSON.parse(line))
  must(rest.length === counts.packs + counts.files, 'lines do not add up')
  const header = {blobs: counts.blobs, packs: rest.slice(0, counts.packs), files: rest.slice(counts.packs)}
  const rows = tree.plain.subarray(end, end + header.blobs * 48)
  let at = end + rows.length

  const packs = header.packs.map(([session, name, salt]) => {
    const bytes = readFileSync(join(folder, incarnation, 'packs', n8(session), name))
    must(sha256(bytes).toString('hex') === name, 'a pack does not hash to its name')
    must(bytes.toString('latin1', 0, 8) === 'dbaasPK1' && bytes.toString('latin1', bytes.length - 8) === 'dbaasPK1', 'no pack')
    must(bytes.subarray(-32, -16).toString('hex') === salt, 'another salt')
    const key = hkdf(keys.pack, Buffer.from(salt, 'hex'), bind('contents of a pack'))
    const footerAt = bytes.readUInt32LE(bytes.length - 16)
    const footer = unseal(key, bind('footer', incarnation, footerAt), bytes.subarray(footerAt, footerAt + bytes.readUInt32LE(bytes.length - 12)))
    return {bytes, key, footer}
  })
  for (const {footer} of packs) {
    for (let i = 0; i < footer.length; ) {
      const bitmap = MIB / 2 ** footer[i + 40] / 8
      const stored = footer.subarray(i + 41 + bitmap, i + 41 + 2 * bitmap)
      const hashes = 16 * stored.reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0)
      const id = hmac(keys.id, footer.subarray(i + 40, i + 41 + 2 * bitmap + hashes))
      must(id.equals(footer.subarray(i, i + 32)), 'a footer does not know its own page sets')
      i += 41 + 2 * bitmap + hashes
    }
  }

  function apply(extent, n, pageSize) {
    const row = rows.subarray(n * 48, (n + 1) * 48)
    const [id, pack, offset, length] = [row.subarray(0, 32), packs[row.readUInt32LE(32)], row.readUInt32LE(36), row.readUInt32LE(40)]
    const plain = unpack(unseal(pack.key, bind('pages', incarnation, id.toString('hex'), offset), pack.bytes.subarray(offset, offset + length)))
    const bitmap = MIB / pageSize / 8
    const [listed, stored] = [plain.subarray(0, bitmap), plain.subarray(bitmap, 2 * bitmap)]
    const has = (bits, page) => (bits[Math.floor(page / 8)] >> (page % 8)) & 1
    const hashes = []
    let from = 2 * bitmap
    for (let page = 0; page < MIB / pageSize; page++) {
      if (!has(listed, page)) continue
      extent.fill(0, page * pageSize, (page + 1) * pageSize)
      if (!has(stored, page)) continue
      const content = plain.subarray(from, from + pageSize)
      content.copy(extent, page * pageSize)
      hashes.push(hmac(keys.page, content).subarray(0, 16))
      from += pageSize
    }
    must(from === plain.length, 'pages do not add up')
    must(hmac(keys.id, Buffer.of(Math.log2(pageSize)), listed, stored, ...hashes).equals(id), 'another id')
  }

  const files = new Map()
  for (const file of header.files) {
    const extents = []
    for (let i = 0; i < Math.ceil(file.length / MIB); i++) {
      const extent = Buffer.alloc(MIB)
      const count = tree.plain.readUInt16LE(at)
      at += 2
      for (let k = 0; k < count; k++, at += 4) apply(extent, tree.plain.readUInt32LE(at), file.page_size)
      extents.push(extent)
    }
    files.set(file.path, Buffer.concat(extents).subarray(0, file.length))
  }
  must(at === tree.plain.length, 'extents do not add up')
  return {files, meta: snapshot.meta}
}

/** The log as [{timeline, segment, bytes, final}], its links followed. */
export function readLog(folder, masterKey, incarnation) {
  const {object} = openRepository(folder, masterKey, incarnation)
  const base = join(folder, incarnation, 'log')
  const segments = []
  let before = null
  for (const timeline of existsSync(base) ? readdirSync(base).sort() : []) {
    for (const segment of readdirSync(join(base, timeline)).sort()) {
      const names = readdirSync(join(base, timeline, segment)).sort()
      const parts = (names.includes('whole') ? ['whole'] : names).map((name) => {
        const {plain} = object(`log/${timeline}/${segment}/${name}`)
        const header = JSON.parse(plain.toString('utf8', 4, 4 + plain.readUInt32LE(0)))
        const bytes = plain.subarray(4 + plain.readUInt32LE(0))
        must(header.end - header.start === bytes.length, 'a slice has another length')
        must(before === null || header.previous === before, `a link is broken at ${timeline}/${segment}/${name}`)
        if (name !== 'whole') {
          must(header.start === Number(name), 'a slice is at another place')
          const content = sha256(bytes).toString('hex')
          const link = sha256(bind('link', timeline, segment, header.start, header.end, String(header.final), header.previous ?? '', content)).toString('hex').slice(0, 32)
          must(link === header.link, 'a link is not its own')
        }
        before = header.link
        return {...header, bytes}
      })
      segments.push({timeline, segment, bytes: Buffer.concat(parts.map(({bytes}) => bytes)), final: parts.at(-1).final})
    }
  }
  return segments
}
