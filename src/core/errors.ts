/**
 * One class and one table for every error of the product.
 *
 * The table maps a stable code to its HTTP status, the CLI's exit code and how a workflow treats it:
 * `transient` is retried with backoff, `permanent` fails the operation at once, `system` is retried too and counts
 * against the circuit breaker of the dependency that raised it.
 */
export type RetryClass = 'transient' | 'permanent' | 'system'

export interface ErrorRow {
  /** HTTP status of the response that carries the code. */
  readonly status: number
  /** Exit code of the CLI (CLI.md): 1 failed, 2 usage, 3 not found, 4 denied, 5 conflict, 6 no agent, 124, 130; of `run` as a shell's, 126, 127. */
  readonly exit: 1 | 2 | 3 | 4 | 5 | 6 | 124 | 126 | 127 | 130
  readonly retry: RetryClass
  /** One line for docs/errors.md: when it happens. */
  readonly meaning: string
}

const row = (status: number, exit: ErrorRow['exit'], retry: RetryClass, meaning: string): ErrorRow => ({status, exit, retry, meaning})

export const errorTable = {
  // what was asked is not well-formed, or not possible
  USAGE: row(400, 2, 'permanent', 'The command line is not valid: an unknown flag, a missing argument, a malformed value.'),
  CONFIRMATION_REQUIRED: row(400, 2, 'permanent', 'A destructive verb was run without a terminal and without --yes, or the name that was typed is another one.'),
  INVALID_REQUEST: row(400, 2, 'permanent', 'The request does not match the schema of the endpoint.'),
  MALFORMED_JSON: row(400, 2, 'permanent', 'The request body is not JSON.'),
  PAYLOAD_TOO_LARGE: row(413, 2, 'permanent', 'The request body is larger than the endpoint accepts.'),
  UNSUPPORTED_MEDIA_TYPE: row(415, 2, 'permanent', 'The request body is not application/json.'),
  METHOD_NOT_ALLOWED: row(405, 2, 'permanent', 'The path exists, but not with this method.'),
  INVALID_NAME: row(400, 2, 'permanent', 'The name is not a lower-case DNS label of at most 40 characters, or it is reserved.'),
  INVALID_SIZE: row(400, 2, 'permanent', 'The size, CPU, memory or storage asked for is not valid.'),
  UNKNOWN_ENGINE: row(400, 2, 'permanent', 'No engine of that name exists.'),
  UNKNOWN_VERSION: row(400, 2, 'permanent', 'The engine has no such version.'),
  UNKNOWN_RUNTIME: row(400, 2, 'permanent', 'No runtime of that name exists.'),
  UNKNOWN_TEMPLATE: row(400, 2, 'permanent', 'The engine has no configuration template of that name.'),
  UNKNOWN_PARAMETER: row(400, 2, 'permanent', 'The server of that version has no such parameter.'),
  INVALID_PARAMETER_VALUE: row(400, 2, 'permanent', 'The server of that version would reject the value.'),
  PARAMETER_MANAGED: row(400, 2, 'permanent', 'The parameter is set by the agent and cannot be changed.'),
  SQL_ERROR: row(400, 1, 'permanent', 'The database rejected the statement.'),
  NOT_SUPPORTED: row(400, 2, 'permanent', 'The engine or runtime of the instance does not support what was asked.'),

  // not there, or not visible
  ROUTE_NOT_FOUND: row(404, 3, 'permanent', 'The API has no such path.'),
  INSTANCE_NOT_FOUND: row(404, 3, 'permanent', 'No instance of that name or id exists for the caller.'),
  NODE_NOT_FOUND: row(404, 3, 'permanent', 'The instance has no such node.'),
  OPERATION_NOT_FOUND: row(404, 3, 'permanent', 'No operation of that id exists for the caller.'),
  TEMPLATE_NOT_FOUND: row(404, 3, 'permanent', 'No user-made template of that name exists for the engine.'),
  CONTEXT_NOT_FOUND: row(404, 3, 'permanent', 'The CLI has no context of that name.'),
  TENANT_NOT_FOUND: row(404, 3, 'permanent', 'No tenant of that name exists for the caller.'),
  PROGRAM_NOT_FOUND: row(404, 127, 'permanent', 'The program to run is not on PATH, or not where it was said to be.'),
  PROGRAM_NOT_EXECUTABLE: row(400, 126, 'permanent', 'The program to run is there, and is no program that may be run.'),
  IMAGE_NOT_FOUND: row(404, 3, 'permanent', 'There is no container image of that name, or it has been removed.'),
  SITE_NOT_FOUND: row(404, 3, 'permanent', 'Nothing that such a site made is there.'),
  BACKUP_NOT_FOUND: row(404, 3, 'permanent', 'The repository has no such backup of the instance.'),
  REPOSITORY_NOT_FOUND: row(404, 3, 'permanent', 'There is no repository of that name.'),
  FILE_NOT_FOUND: row(404, 3, 'permanent', 'A file named on the command line cannot be read.'),

  // denied
  UNAUTHENTICATED: row(401, 4, 'permanent', 'The caller is not signed in, or the token is not valid.'),
  FORBIDDEN: row(403, 4, 'permanent', 'The caller may see the object but not do this to it.'),

  // not now, not in this state
  NAME_IN_USE: row(409, 5, 'permanent', 'The tenant already has something of that name.'),
  INSTANCE_PROTECTED: row(409, 5, 'permanent', 'The instance has deletion protection.'),
  INVALID_STATE: row(409, 5, 'permanent', 'The object is in a state that does not allow what was asked.'),
  NO_QUORUM: row(409, 5, 'permanent', 'Too few replicas answer to tell which one holds every acknowledged write: no choice of a primary is safe.'),
  NOT_CANCELLABLE: row(409, 5, 'permanent', 'The operation has ended, or has passed its point of no return.'),
  IDEMPOTENCY_CONFLICT: row(409, 5, 'permanent', 'The idempotency key was used before with a different request.'),
  ENGINE_NOT_INSTALLED: row(409, 5, 'permanent', 'The version is known but not installed on this site.'),
  ENGINE_IN_USE: row(409, 5, 'permanent', 'An instance still uses the engine version.'),
  INSUFFICIENT_DISK: row(409, 5, 'permanent', 'The site has less free disk than the instance needs.'),
  INSUFFICIENT_MEMORY: row(409, 5, 'permanent', 'The site has less free memory than the instance needs now.'),
  INSUFFICIENT_CPU: row(409, 5, 'permanent', 'The instance asks for more CPU than the site has.'),
  PORT_IN_USE: row(409, 5, 'permanent', 'The port asked for is taken.'),
  TEMPLATE_BUILT_IN: row(409, 5, 'permanent', 'Built-in templates cannot be changed or deleted.'),
  QUOTA_EXCEEDED: row(409, 5, 'permanent', 'A limit of the tenant would be exceeded.'),

  // the agent
  AGENT_UNREACHABLE: row(503, 6, 'permanent', 'The agent of the context does not answer.'),
  AGENT_START_FAILED: row(503, 6, 'permanent', 'The local agent could not be started.'),
  AGENT_STOPPING: row(503, 6, 'transient', 'The agent is shutting down.'),
  STORE_CORRUPT: row(500, 6, 'permanent', 'A state file of the agent is damaged.'),
  STORE_NEWER: row(500, 6, 'permanent', 'A state file was written by a newer version of dbaas.'),
  HOME_UNUSABLE: row(500, 6, 'permanent', 'The home folder cannot be created, written or trusted.'),
  AUDIT_UNAVAILABLE: row(503, 1, 'system', 'The audit log cannot be written, so nothing may be changed.'),

  // things that went wrong
  DISK_FULL: row(507, 1, 'permanent', 'A disk of the site is full.'),
  DATABASE_UNAVAILABLE: row(503, 1, 'transient', 'The database does not accept connections.'),
  RUNTIME_UNAVAILABLE: row(503, 1, 'system', 'The runtime (process supervisor, Docker, Kubernetes) does not answer.'),
  DATA_GONE: row(500, 1, 'permanent', 'The data of the instance is not there any more: somebody removed it.'),
  SERVER_START_FAILED: row(500, 1, 'permanent', 'The database server did not start; the message carries its own words.'),
  TARGET_UNREACHABLE: row(409, 5, 'permanent', 'What is archived does not reach the moment that a restore was asked for.'),
  RECOVERY_FAILED: row(500, 1, 'permanent', 'A restored server did not end its recovery where it was asked to.'),
  COMMAND_FAILED: row(500, 1, 'permanent', 'A program the agent ran ended with an error.'),
  DOWNLOAD_FAILED: row(502, 1, 'transient', 'A download did not complete.'),
  INTEGRITY_MISMATCH: row(502, 1, 'permanent', 'A download or an archive is damaged, or does not have the expected checksum.'),
  ENDPOINT_UNAVAILABLE: row(503, 1, 'transient', 'The endpoint process does not answer.'),
  REPOSITORY_UNAVAILABLE: row(503, 1, 'system', 'The repository (a folder, a bucket) does not answer.'),
  REPOSITORY_REFUSED: row(502, 1, 'permanent', 'The repository refuses what is asked: the credentials, the permissions, or what it can do.'),
  REPOSITORY_BUSY: row(409, 5, 'transient', 'Another writer is at work in the repository for this instance.'),
  REPOSITORY_DAMAGED: row(500, 1, 'permanent', 'An object of the repository is missing, or is not what was written.'),
  REPOSITORY_NEWER: row(500, 1, 'permanent', 'The repository was written by a newer version of dbaas.'),
  LEASE_LOST: row(409, 5, 'permanent', 'Another writer has taken over: what was being written does not count.'),
  KEY_UNAVAILABLE: row(500, 1, 'permanent', 'The key that is needed cannot be had, is destroyed, or is another one.'),
  SECRET_UNREADABLE: row(500, 1, 'permanent', 'A sealed secret cannot be opened with the key of this home.'),
  OPERATION_FAILED: row(500, 1, 'permanent', 'The operation failed and was undone.'),
  OPERATION_CANCELLED: row(409, 1, 'permanent', 'The operation was cancelled and undone.'),
  DEADLINE_EXCEEDED: row(504, 1, 'permanent', 'The operation passed its deadline and was undone.'),
  RATE_LIMITED: row(429, 1, 'transient', 'The client sent more requests than its rate allows.'),
  WAIT_TIMED_OUT: row(504, 124, 'permanent', 'The CLI stopped waiting; the operation goes on.'),
  INTERRUPTED: row(499, 130, 'permanent', 'The CLI was interrupted; the operation goes on.'),
  INTERNAL: row(500, 1, 'permanent', 'A bug. Please report it with the request id.'),
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof errorTable

export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorTable, code)

export interface ErrorOptions {
  /** Facts, all strings: which parameter, which range, which path. Never a secret, never SQL text. */
  readonly details?: Readonly<Record<string, string>>
  /** Commands to run or things to change next, most useful first. */
  readonly suggestions?: readonly string[]
  readonly cause?: unknown
}

/** What a serialised error looks like where it is stored (operations) and on the wire (`error` of ErrorResponse). */
export interface ErrorDetail {
  code: string
  message: string
  details?: Record<string, string>
  suggestions?: string[]
}

export class DbaasError extends Error {
  override readonly name = 'DbaasError'
  readonly details: Readonly<Record<string, string>>
  readonly suggestions: readonly string[]

  constructor(
    readonly code: ErrorCode,
    message: string,
    options: ErrorOptions = {},
  ) {
    super(message, options.cause === undefined ? undefined : {cause: options.cause})
    this.details = options.details ?? {}
    this.suggestions = options.suggestions ?? []
  }

  get row(): ErrorRow {
    return errorTable[this.code]
  }

  toDetail(): ErrorDetail {
    return {
      code: this.code,
      message: this.message,
      ...(Object.keys(this.details).length > 0 ? {details: {...this.details}} : {}),
      ...(this.suggestions.length > 0 ? {suggestions: [...this.suggestions]} : {}),
    }
  }

  /** Revives an error that crossed the wire. A code this version does not know becomes INTERNAL, its words kept. */
  static fromDetail(detail: ErrorDetail): DbaasError {
    const code: ErrorCode = isErrorCode(detail.code) ? detail.code : 'INTERNAL'
    return new DbaasError(code, detail.message, {
      ...(detail.details ? {details: detail.details} : {}),
      ...(detail.suggestions ? {suggestions: detail.suggestions} : {}),
    })
  }

  /** Any thrown thing as a DbaasError; what nobody translated is a bug of ours and says so. */
  static from(error: unknown): DbaasError {
    if (error instanceof DbaasError) return error
    const code = (error as {code?: unknown} | null)?.code
    if (code === 'ENOSPC' || code === 'SQLITE_FULL' || code === 'EDQUOT') {
      return new DbaasError('DISK_FULL', 'the disk is full', {
        cause: error,
        suggestions: ['free some space, then run the command again', 'dbaas doctor'],
      })
    }
    const message = error instanceof Error ? error.message : String(error)
    return new DbaasError('INTERNAL', message, {cause: error})
  }
}
