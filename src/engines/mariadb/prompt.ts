/** MariaDB at the command line. */
import {DbaasError} from '../../core/errors.js'
import type {Access, Route} from '../prompt.js'
import {hostList} from '../prompt.js'
import {familyPrompt} from '../mysql-family/prompt.js'

/** MariaDB Connector/J, which takes what is between `=` and `&` as it is. */
async function jdbc(access: Access, route: Route): Promise<string> {
  const pairs = Object.entries({
    user: access.username, password: access.password, sslMode: 'verify-full', serverSslCert: route.caFile,
    ...(route.readOnly ? {sessionVariables: 'tx_read_only=1'} : {}),
  })
  const awkward = pairs.find(([, value]) => value.includes('&'))
  if (awkward) {
    throw new DbaasError('NOT_SUPPORTED', `MariaDB's driver cannot be told a ${awkward[0]} with "&" in a URL`, {
      details: {option: awkward[0]}, suggestions: ['dbaas credentials NAME, and set the options in your program'],
    })
  }
  return `jdbc:mariadb://${hostList(access, route)}/${access.database}?${pairs.map(([name, value]) => `${name}=${value}`).join('&')}`
}

export const prompt = familyPrompt('MariaDB', ['mariadb', 'mysql'], jdbc)
