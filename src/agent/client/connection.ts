/** Whether somebody listens, and what it means when nobody does. */
import {connect} from 'node:net'
import {DbaasError} from '../../core/errors.js'
import type {ContextTarget} from './contexts.js'

/** ECONNRESET: the listener went while we came. */
const silent = new Set(['ENOENT', 'ECONNREFUSED', 'ENOTDIR', 'ECONNRESET'])

/**
 * True when a connection to the socket is accepted, false when nobody listens there. Throws AGENT_UNREACHABLE for
 * what starting an agent cannot mend (a socket of another user).
 */
export function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (silent.has(error.code ?? '')) resolve(false)
      // The listen queue is full: somebody is there, and busy.
      else if (error.code === 'EAGAIN') resolve(true)
      else reject(unreachable({socketPath}, error))
    })
  })
}

const reasons: Record<string, string> = {
  ENOENT: 'no agent runs',
  ECONNREFUSED: 'nobody listens there',
  ENOTDIR: 'a part of its path is a file',
  EACCES: 'permission denied: it belongs to another user',
  ECONNRESET: 'the connection broke',
  EPIPE: 'the connection broke',
  UND_ERR_SOCKET: 'the connection broke',
  ENOTFOUND: 'the name is not known',
  EAI_AGAIN: 'the name cannot be looked up',
  ETIMEDOUT: 'no answer in time',
  EHOSTUNREACH: 'there is no route to it',
  ENETUNREACH: 'there is no route to it',
  UND_ERR_CONNECT_TIMEOUT: 'no answer in time',
  UND_ERR_HEADERS_TIMEOUT: 'no answer in time',
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: 'it does not speak TLS 1.3',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'it does not speak TLS 1.3',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is not trusted here',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is not trusted here',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is not trusted here',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
}

/** AGENT_UNREACHABLE, with where it was looked for and why it does not answer. */
export function unreachable(target: ContextTarget, cause: unknown): DbaasError {
  const {code, message} = cause as NodeJS.ErrnoException
  const address = 'url' in target ? target.url : target.socketPath
  const because = reasons[code ?? ''] ?? message
  return new DbaasError('AGENT_UNREACHABLE', `the agent at ${address} does not answer: ${because}`, {
    cause,
    details: {address, because},
    suggestions:
      'url' in target
        ? ['dbaas context list', 'check the URL, the network and the agent there']
        : ['dbaas agent start', 'dbaas agent logs'],
  })
}
