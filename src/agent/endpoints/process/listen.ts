import {type Server, type Socket, createServer} from 'node:net'
import {DbaasError} from '../../../core/errors.js'
import {acceptOptions} from './byte-reader.js'
import type {Address} from './session.js'

const backlog = 1024

/** Resolves when it really listens. Throws PORT_IN_USE, or INVALID_REQUEST for an address we may not listen on. */
export function listen(address: Address, accept: (socket: Socket) => void): Promise<Server> {
  const server = createServer(acceptOptions, accept)
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(translate(error, address)))
    server.listen({host: address.host, port: address.port, backlog, exclusive: true}, () => {
      server.removeAllListeners('error')
      resolve(tolerant(server))
    })
  })
}

/** Goes on with a listener that another process handed over; it never stopped listening. */
export function adoptListener(received: Server, accept: (socket: Socket) => void): Server {
  return tolerant(createServer(acceptOptions, accept).listen(received, backlog))
}

/** A failed accept (too many open files) concerns one client; without a listener for it Node would end the process. */
function tolerant(server: Server): Server {
  return server.on('error', (error) => console.error(`accept failed: ${error.message}`))
}

function translate(error: NodeJS.ErrnoException, {host, port}: Address): DbaasError {
  const details = {host, port: String(port)}
  switch (error.code) {
    case 'EADDRINUSE':
      return new DbaasError('PORT_IN_USE', `port ${port} of ${host} is taken`, {
        cause: error,
        details,
        suggestions: ['choose another port with --port', `lsof -nP -iTCP:${port} -sTCP:LISTEN   # who has it`],
      })
    case 'EACCES':
      return new DbaasError('INVALID_REQUEST', `port ${port} needs privileges that the agent does not have`, {
        cause: error,
        details,
        suggestions: ['choose a port from 1024 to 65535 with --port'],
      })
    default:
      return new DbaasError('INVALID_REQUEST', `the endpoint cannot listen on ${host}:${port}: ${error.message}`, {
        cause: error,
        details,
        suggestions: ['ip addr   # the addresses of this machine'],
      })
  }
}
