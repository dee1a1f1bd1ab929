/**
 * The site's own certificate authority: one key (ECDSA P-256), from which every instance gets a server certificate and the
 * agent its client certificate. Extended key usage keeps the two apart: an instance's certificate opens no other instance.
 */
import {X509Certificate as NodeCertificate, randomBytes, webcrypto} from 'node:crypto'
import {renameSync, writeFileSync} from 'node:fs'
import type {Clock} from '../../core/time.js'
import type {Store} from '../store/store.js'

const day = 86_400_000
const caYears = 20
const serverDays = 397
const adminDays = 30
/** A server certificate with less than this left is replaced when its server is next configured. */
const renewBeforeDays = 30

export interface KeyPair {
  readonly certificate: string
  readonly key: string
}

export interface Authority {
  /** PEM. */
  readonly caCertificate: string
  /** Where clients find it. */
  readonly caFile: string
  issueServer(names: {commonName: string; dns: readonly string[]; ip: readonly string[]}): Promise<KeyPair>
  /** The agent's way into every server of the site, renewed in memory. */
  admin(username: string): Promise<{username: string; ca: string; certificate: string; key: string}>
  isFresh(certificate: string): boolean
}

type X509 = typeof import('@peculiar/x509')

// 240 ms to load unbundled, and not needed to list or to stop
const loadX509 = async (): Promise<X509> => {
  await import('reflect-metadata')
  // a CommonJS package: a split bundle gives it as the default export alone
  const loaded = (await import('@peculiar/x509')) as X509 & {default?: X509}
  return loaded.default ?? loaded
}

const algorithm = {name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256'} as const

const pem = (label: string, der: ArrayBuffer): string =>
  `-----BEGIN ${label}-----\n${Buffer.from(der).toString('base64').replace(/.{64}(?=.)/g, '$&\n')}\n-----END ${label}-----\n`

/** RFC 5280 4.1.2.2: a positive number of at most 20 octets. */
const serial = (): string => Buffer.concat([Buffer.from([1]), randomBytes(15)]).toString('hex')

export async function openAuthority(options: {store: Store; clock: Clock; site: string; caFile: string}): Promise<Authority> {
  const {store, clock} = options
  const kept = await store.read('platform', async (tx) => ({
    certificate: await tx.settings.get('ca.certificate'), key: await tx.secrets.get(options.site, 'ca.key'),
  }))
  const ca: KeyPair = kept.certificate && kept.key ? {certificate: kept.certificate, key: kept.key} : await makeAuthority()
  const temporary = `${options.caFile}.new`
  writeFileSync(temporary, ca.certificate, {mode: 0o644})
  renameSync(temporary, options.caFile)

  async function makeAuthority(): Promise<KeyPair> {
    const x509 = await loadX509()
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
    const now = clock.now()
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serial(), name: `CN=dbaas ${options.site}`, notBefore: new Date(now - day), notAfter: new Date(now + caYears * 365 * day),
      signingAlgorithm: algorithm, keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    })
    const pair = {certificate: `${certificate.toString('pem')}\n`, key: pem('PRIVATE KEY', await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))}
    await store.transact('platform', async (tx) => {
      await tx.settings.put('ca.certificate', pair.certificate)
      await tx.secrets.put('default', options.site, 'ca.key', pair.key)
    })
    return pair
  }

  async function issue(subject: string, days: number, usage: string, names: {type: 'dns' | 'ip'; value: string}[]): Promise<KeyPair> {
    const x509 = await loadX509()
    const issuer = new x509.X509Certificate(ca.certificate)
    const der = Buffer.from(ca.key.replace(/-----[^-]+-----|\s/g, ''), 'base64')
    const signingKey = await webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign'])
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
    const now = clock.now()
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial(), subject, issuer: issuer.subject, notBefore: new Date(now - day), notAfter: new Date(now + days * day),
      signingAlgorithm: algorithm, publicKey: keys.publicKey, signingKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([usage], true),
        ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
        await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    })
    return {certificate: `${certificate.toString('pem')}\n`, key: pem('PRIVATE KEY', await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))}
  }

  const left = (certificate: string): number => Date.parse(new NodeCertificate(certificate).validTo) - clock.now()
  const admins = new Map<string, Promise<KeyPair>>()

  return {
    caCertificate: ca.certificate,
    caFile: options.caFile,
    issueServer: ({commonName, dns, ip}) =>
      issue(`CN=${commonName}`, serverDays, '1.3.6.1.5.5.7.3.1', [
        ...dns.map((value) => ({type: 'dns' as const, value})), ...ip.map((value) => ({type: 'ip' as const, value})),
      ]),
    async admin(username) {
      const kept = admins.get(username)
      let pair = kept && (await kept)
      if (!pair || left(pair.certificate) < (adminDays / 2) * day) {
        const fresh = issue(`CN=${username}`, adminDays, '1.3.6.1.5.5.7.3.2', [])
        admins.set(username, fresh)
        pair = await fresh
      }
      return {username, ca: ca.certificate, ...pair}
    },
    isFresh: (certificate) => left(certificate) > renewBeforeDays * day,
  }
}
