/** One running server with an application in it, as the tests of queries and of security want it. */
import {sizes} from '../../../src/core/instance/sizes.js'
import type {AdminCredentials, ClientCredentials} from '../../../src/engines/engine.js'
import type {Host} from '../../../src/engines/host.js'
import {untilReady} from '../conformance.js'
import {mysqlFamilySubject} from './subject.js'
import type {FamilySubject, Member} from './subject.js'

export interface AppServer {
  readonly subject: FamilySubject
  readonly host: Host
  readonly admin: AdminCredentials
  readonly app: ClientCredentials
  readonly server: Awaited<ReturnType<FamilySubject['start']>>
}

export async function appServer(member: Member, password: string): Promise<AppServer> {
  const {lifecycle, config, access} = member.engine
  const subject = await mysqlFamilySubject(member)
  try {
    const admin = await subject.admin()
    const host = await subject.place('main')
    await lifecycle.initialise(host, subject.version)
    await config.write(host, {
      version: subject.version,
      instanceName: 'demo',
      values: config.fromSize(sizes.micro, subject.version),
      tls: await subject.tls(),
    })
    const server = await subject.start(host, lifecycle.command(host, subject.version))
    await untilReady(member.engine, host, admin, server)
    await access.grantApplication(host, admin, {database: 'app', username: 'app', password})
    const app = {...host.address(), database: 'app', username: 'app', password, ca: admin.ca, serverName: 'localhost'}
    return {subject, host, admin, app, server}
  } catch (error) {
    await subject.close()
    throw error
  }
}
