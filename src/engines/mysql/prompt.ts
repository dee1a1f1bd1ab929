/** MySQL at the command line. */
import type {Access, Route} from '../prompt.js'
import {hostList, queryOf} from '../prompt.js'
import {familyPrompt} from '../mysql-family/prompt.js'
import {javaKeyStore} from './java-key-store.js'

/** Of no secret: what is in the file is a certificate. Java has no store without a password. */
const storePassword = 'changeit'

/** Connector/J. It reads certificates from a Java key store alone, so one is made of the CA's. */
async function jdbc(access: Access, route: Route): Promise<string> {
  const store = await route.keep('ca.jks', javaKeyStore(access.ca_certificate, storePassword))
  return `jdbc:mysql://${hostList(access, route)}/${encodeURIComponent(access.database)}?${queryOf([
    ['user', access.username], ['password', access.password], ['sslMode', 'VERIFY_IDENTITY'],
    ['trustCertificateKeyStoreUrl', `file:${encodeURI(store)}`], ['trustCertificateKeyStoreType', 'JKS'], ['trustCertificateKeyStorePassword', storePassword],
    ...(route.readOnly ? [['sessionVariables', 'transaction_read_only=1'] as const] : []),
  ])}`
}

export const prompt = familyPrompt('MySQL', ['mysql', 'mariadb'], jdbc)
