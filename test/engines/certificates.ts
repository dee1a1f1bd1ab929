/** A certificate authority for tests: server certificates and the agent's client certificate, as the site has them. */
import 'reflect-metadata'
import * as x509 from '@peculiar/x509'
import {webcrypto} from 'node:crypto'
import type {AdminCredentials, TlsFiles} from '../../src/engines/engine.js'

const algorithm = {name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256'} as const
const valid = {notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + 86_400_000)}
const makeKeys = () => webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])

const keyPem = async (keys: {privateKey: webcrypto.CryptoKey}): Promise<string> =>
  x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY')

export interface TestAuthority {
  readonly ca: string
  server(names?: readonly string[]): Promise<TlsFiles>
  admin(username: string): Promise<AdminCredentials>
}

export async function testAuthority(): Promise<TestAuthority> {
  x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0])
  const keys = await makeKeys()
  const issuer = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: 'CN=dbaas test',
    ...valid,
    signingAlgorithm: algorithm,
    keys,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true)],
  })
  const ca = issuer.toString('pem')
  let serial = 1

  async function issue(
    name: string,
    usage: string,
    dns: readonly string[],
  ): Promise<{certificate: string; key: string}> {
    const own = await makeKeys()
    serial += 1
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial.toString(16).padStart(4, '0'),
      subject: `CN=${name}`,
      issuer: issuer.subject,
      ...valid,
      signingAlgorithm: algorithm,
      publicKey: own.publicKey,
      signingKey: keys.privateKey,
      extensions: [
        new x509.ExtendedKeyUsageExtension([usage]),
        ...(dns.length > 0
          ? [new x509.SubjectAlternativeNameExtension(dns.map((value) => ({type: 'dns' as const, value})))]
          : []),
      ],
    })
    return {certificate: certificate.toString('pem'), key: await keyPem(own)}
  }

  return {
    ca,
    server: async (names = ['localhost', 'demo']) => ({
      ...(await issue(names[0] as string, x509.ExtendedKeyUsage.serverAuth, names)),
      clientCa: ca,
    }),
    admin: async (username) => ({username, ca, ...(await issue(username, x509.ExtendedKeyUsage.clientAuth, []))}),
  }
}
