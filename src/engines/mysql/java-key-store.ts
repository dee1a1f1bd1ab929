import {createHash, X509Certificate} from 'node:crypto'

const magic = 0xfeedfeed
const formatVersion = 2
const trustedCertificate = 2

const int = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** A length of two bytes, then the text; ASCII only, where Java's own UTF-8 is the same. */
const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length >> 8, value.length & 0xff]), Buffer.from(value, 'latin1')])

/** The certificates of a PEM text as a Java key store (JKS) of trusted certificates: the same bytes for the same text. */
export function javaKeyStore(pem: string, password: string): Buffer {
  const certificates = (pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? []).map((each) => new X509Certificate(each).raw)
  const entries = certificates.map((der, i) => Buffer.concat([
    int(trustedCertificate), text(`ca-${i}`), Buffer.alloc(8), text('X.509'), int(der.length), der,
  ]))
  const body = Buffer.concat([int(magic), int(formatVersion), int(entries.length), ...entries])
  // Java's texts are big-endian UTF-16, and its whitening is what it is
  const key = Buffer.from(password, 'utf16le').swap16()
  return Buffer.concat([body, createHash('sha1').update(key).update('Mighty Aphrodite').update(body).digest()])
}
