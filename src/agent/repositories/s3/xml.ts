/** The few answers of S3 that are XML. They have elements and text alone, so what is needed of them is found without a parser. */

const entities: Readonly<Record<string, string>> = {amp: '&', lt: '<', gt: '>', quot: '"', apos: "'"}

function decode(text: string): string {
  return text.replace(/&(#x?)?([0-9A-Za-z]{1,8});/g, (all, numeric: string | undefined, name: string) => {
    if (numeric === undefined) return entities[name] ?? all
    const code = Number.parseInt(name, numeric === '#' ? 10 : 16)
    return code >= 0 && code <= 0x10_ff_ff ? String.fromCodePoint(code) : all
  })
}

/** Text of the first element of that name. */
export function textOf(xml: string, name: string): string | undefined {
  const from = xml.indexOf(`<${name}>`)
  const to = xml.indexOf(`</${name}>`, from)
  return from === -1 || to === -1 ? undefined : decode(xml.slice(from + name.length + 2, to))
}

/** Contents of every element of that name. They do not nest. */
function* elements(xml: string, name: string): Generator<string> {
  const [open, close] = [`<${name}>`, `</${name}>`]
  for (let from = xml.indexOf(open); from !== -1; ) {
    const to = xml.indexOf(close, from)
    if (to === -1) return
    yield xml.slice(from + open.length, to)
    from = xml.indexOf(open, to)
  }
}

/** With `encoding-type=url`, which every key can be said in. */
const keyOf = (element: string): string => {
  const text = (textOf(element, 'Key') ?? '').replaceAll('+', ' ')
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** `code` is empty where the answer is not one of S3. */
export function parseError(body: Buffer): {code: string; message: string; region: string | undefined} {
  const xml = body.toString('utf8', 0, 65_536)
  const error = /<Error[ >]/.test(xml) ? xml : ''
  return {code: textOf(error, 'Code') ?? '', message: textOf(error, 'Message') ?? '', region: textOf(error, 'Region')}
}

export interface Page {
  readonly objects: readonly {readonly key: string; readonly size: number; readonly modifiedAt: number}[]
  readonly more: boolean
}

/** Of ListObjectsV2. Undefined when it is not all of one. */
export function parsePage(body: Buffer): Page | undefined {
  const xml = body.toString('utf8')
  const more = textOf(xml, 'IsTruncated')
  if (more === undefined || !/<\/ListBucketResult>\s*$/.test(xml)) return undefined
  const objects = [...elements(xml, 'Contents')].map((element) => ({
    key: keyOf(element), size: Number(textOf(element, 'Size')), modifiedAt: Date.parse(textOf(element, 'LastModified') ?? ''),
  }))
  return {objects, more: more === 'true'}
}

/** Versions and delete markers, of ListObjectVersions. Undefined when it is not all of one. */
export function parseVersions(body: Buffer): {readonly key: string; readonly id: string}[] | undefined {
  const xml = body.toString('utf8')
  if (!/<\/ListVersionsResult>\s*$/.test(xml)) return undefined
  return ['Version', 'DeleteMarker'].flatMap((name) => [...elements(xml, name)]).map((element) => ({key: keyOf(element), id: textOf(element, 'VersionId') ?? ''}))
}
