"use strict";

// src/agent/endpoints/process/endpoint-process.ts
var import_node_fs4 = require("node:fs"), import_node_path4 = require("node:path");

// src/core/errors.ts
var row = (status, exit, retry, meaning) => ({ status, exit, retry, meaning }), errorTable = {
  // what was asked is not well-formed, or not possible
  USAGE: row(400, 2, "permanent", "The command line is not valid: an unknown flag, a missing argument, a malformed value."),
  CONFIRMATION_REQUIRED: row(400, 2, "permanent", "A destructive verb was run without a terminal and without --yes, or the name that was typed is another one."),
  INVALID_REQUEST: row(400, 2, "permanent", "The request does not match the schema of the endpoint."),
  MALFORMED_JSON: row(400, 2, "permanent", "The request body is not JSON."),
  PAYLOAD_TOO_LARGE: row(413, 2, "permanent", "The request body is larger than the endpoint accepts."),
  UNSUPPORTED_MEDIA_TYPE: row(415, 2, "permanent", "The request body is not application/json."),
  METHOD_NOT_ALLOWED: row(405, 2, "permanent", "The path exists, but not with this method."),
  INVALID_NAME: row(400, 2, "permanent", "The name is not a lower-case DNS label of at most 40 characters, or it is reserved."),
  INVALID_SIZE: row(400, 2, "permanent", "The size, CPU, memory or storage asked for is not valid."),
  UNKNOWN_ENGINE: row(400, 2, "permanent", "No engine of that name exists."),
  UNKNOWN_VERSION: row(400, 2, "permanent", "The engine has no such version."),
  UNKNOWN_RUNTIME: row(400, 2, "permanent", "No runtime of that name exists."),
  UNKNOWN_TEMPLATE: row(400, 2, "permanent", "The engine has no configuration template of that name."),
  UNKNOWN_PARAMETER: row(400, 2, "permanent", "The server of that version has no such parameter."),
  INVALID_PARAMETER_VALUE: row(400, 2, "permanent", "The server of that version would reject the value."),
  PARAMETER_MANAGED: row(400, 2, "permanent", "The parameter is set by the agent and cannot be changed."),
  SQL_ERROR: row(400, 1, "permanent", "The database rejected the statement."),
  NOT_SUPPORTED: row(400, 2, "permanent", "The engine or runtime of the instance does not support what was asked."),
  // not there, or not visible
  ROUTE_NOT_FOUND: row(404, 3, "permanent", "The API has no such path."),
  INSTANCE_NOT_FOUND: row(404, 3, "permanent", "No instance of that name or id exists for the caller."),
  NODE_NOT_FOUND: row(404, 3, "permanent", "The instance has no such node."),
  OPERATION_NOT_FOUND: row(404, 3, "permanent", "No operation of that id exists for the caller."),
  TEMPLATE_NOT_FOUND: row(404, 3, "permanent", "No user-made template of that name exists for the engine."),
  CONTEXT_NOT_FOUND: row(404, 3, "permanent", "The CLI has no context of that name."),
  TENANT_NOT_FOUND: row(404, 3, "permanent", "No tenant of that name exists for the caller."),
  PROGRAM_NOT_FOUND: row(404, 127, "permanent", "The program to run is not on PATH, or not where it was said to be."),
  PROGRAM_NOT_EXECUTABLE: row(400, 126, "permanent", "The program to run is there, and is no program that may be run."),
  IMAGE_NOT_FOUND: row(404, 3, "permanent", "There is no container image of that name, or it has been removed."),
  SITE_NOT_FOUND: row(404, 3, "permanent", "Nothing that such a site made is there."),
  BACKUP_NOT_FOUND: row(404, 3, "permanent", "The repository has no such backup of the instance."),
  REPOSITORY_NOT_FOUND: row(404, 3, "permanent", "There is no repository of that name."),
  FILE_NOT_FOUND: row(404, 3, "permanent", "A file named on the command line cannot be read."),
  // denied
  UNAUTHENTICATED: row(401, 4, "permanent", "The caller is not signed in, or the token is not valid."),
  FORBIDDEN: row(403, 4, "permanent", "The caller may see the object but not do this to it."),
  // not now, not in this state
  NAME_IN_USE: row(409, 5, "permanent", "The tenant already has something of that name."),
  INSTANCE_PROTECTED: row(409, 5, "permanent", "The instance has deletion protection."),
  INVALID_STATE: row(409, 5, "permanent", "The object is in a state that does not allow what was asked."),
  NO_QUORUM: row(409, 5, "permanent", "Too few replicas answer to tell which one holds every acknowledged write: no choice of a primary is safe."),
  NOT_CANCELLABLE: row(409, 5, "permanent", "The operation has ended, or has passed its point of no return."),
  IDEMPOTENCY_CONFLICT: row(409, 5, "permanent", "The idempotency key was used before with a different request."),
  ENGINE_NOT_INSTALLED: row(409, 5, "permanent", "The version is known but not installed on this site."),
  ENGINE_IN_USE: row(409, 5, "permanent", "An instance still uses the engine version."),
  INSUFFICIENT_DISK: row(409, 5, "permanent", "The site has less free disk than the instance needs."),
  INSUFFICIENT_MEMORY: row(409, 5, "permanent", "The site has less free memory than the instance needs now."),
  INSUFFICIENT_CPU: row(409, 5, "permanent", "The instance asks for more CPU than the site has."),
  PORT_IN_USE: row(409, 5, "permanent", "The port asked for is taken."),
  TEMPLATE_BUILT_IN: row(409, 5, "permanent", "Built-in templates cannot be changed or deleted."),
  QUOTA_EXCEEDED: row(409, 5, "permanent", "A limit of the tenant would be exceeded."),
  // the agent
  AGENT_UNREACHABLE: row(503, 6, "permanent", "The agent of the context does not answer."),
  AGENT_START_FAILED: row(503, 6, "permanent", "The local agent could not be started."),
  AGENT_STOPPING: row(503, 6, "transient", "The agent is shutting down."),
  STORE_CORRUPT: row(500, 6, "permanent", "A state file of the agent is damaged."),
  STORE_NEWER: row(500, 6, "permanent", "A state file was written by a newer version of dbaas."),
  HOME_UNUSABLE: row(500, 6, "permanent", "The home folder cannot be created, written or trusted."),
  AUDIT_UNAVAILABLE: row(503, 1, "system", "The audit log cannot be written, so nothing may be changed."),
  // things that went wrong
  DISK_FULL: row(507, 1, "permanent", "A disk of the site is full."),
  DATABASE_UNAVAILABLE: row(503, 1, "transient", "The database does not accept connections."),
  RUNTIME_UNAVAILABLE: row(503, 1, "system", "The runtime (process supervisor, Docker, Kubernetes) does not answer."),
  DATA_GONE: row(500, 1, "permanent", "The data of the instance is not there any more: somebody removed it."),
  SERVER_START_FAILED: row(500, 1, "permanent", "The database server did not start; the message carries its own words."),
  TARGET_UNREACHABLE: row(409, 5, "permanent", "What is archived does not reach the moment that a restore was asked for."),
  RECOVERY_FAILED: row(500, 1, "permanent", "A restored server did not end its recovery where it was asked to."),
  COMMAND_FAILED: row(500, 1, "permanent", "A program the agent ran ended with an error."),
  DOWNLOAD_FAILED: row(502, 1, "transient", "A download did not complete."),
  INTEGRITY_MISMATCH: row(502, 1, "permanent", "A download or an archive is damaged, or does not have the expected checksum."),
  ENDPOINT_UNAVAILABLE: row(503, 1, "transient", "The endpoint process does not answer."),
  REPOSITORY_UNAVAILABLE: row(503, 1, "system", "The repository (a folder, a bucket) does not answer."),
  REPOSITORY_REFUSED: row(502, 1, "permanent", "The repository refuses what is asked: the credentials, the permissions, or what it can do."),
  REPOSITORY_BUSY: row(409, 5, "transient", "Another writer is at work in the repository for this instance."),
  REPOSITORY_DAMAGED: row(500, 1, "permanent", "An object of the repository is missing, or is not what was written."),
  REPOSITORY_NEWER: row(500, 1, "permanent", "The repository was written by a newer version of dbaas."),
  LEASE_LOST: row(409, 5, "permanent", "Another writer has taken over: what was being written does not count."),
  KEY_UNAVAILABLE: row(500, 1, "permanent", "The key that is needed cannot be had, is destroyed, or is another one."),
  SECRET_UNREADABLE: row(500, 1, "permanent", "A sealed secret cannot be opened with the key of this home."),
  OPERATION_FAILED: row(500, 1, "permanent", "The operation failed and was undone."),
  OPERATION_CANCELLED: row(409, 1, "permanent", "The operation was cancelled and undone."),
  DEADLINE_EXCEEDED: row(504, 1, "permanent", "The operation passed its deadline and was undone."),
  RATE_LIMITED: row(429, 1, "transient", "The client sent more requests than its rate allows."),
  WAIT_TIMED_OUT: row(504, 124, "permanent", "The CLI stopped waiting; the operation goes on."),
  INTERRUPTED: row(499, 130, "permanent", "The CLI was interrupted; the operation goes on."),
  INTERNAL: row(500, 1, "permanent", "A bug. Please report it with the request id.")
}, isErrorCode = (code) => Object.hasOwn(errorTable, code), DbaasError = class _DbaasError extends Error {
  constructor(code, message, options = {}) {
    super(message, options.cause === void 0 ? void 0 : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {}, this.suggestions = options.suggestions ?? [];
  }
  code;
  name = "DbaasError";
  details;
  suggestions;
  get row() {
    return errorTable[this.code];
  }
  toDetail() {
    return {
      code: this.code,
      message: this.message,
      ...Object.keys(this.details).length > 0 ? { details: { ...this.details } } : {},
      ...this.suggestions.length > 0 ? { suggestions: [...this.suggestions] } : {}
    };
  }
  /** Revives an error that crossed the wire. A code this version does not know becomes INTERNAL, its words kept. */
  static fromDetail(detail) {
    let code = isErrorCode(detail.code) ? detail.code : "INTERNAL";
    return new _DbaasError(code, detail.message, {
      ...detail.details ? { details: detail.details } : {},
      ...detail.suggestions ? { suggestions: detail.suggestions } : {}
    });
  }
  /** Any thrown thing as a DbaasError; what nobody translated is a bug of ours and says so. */
  static from(error) {
    if (error instanceof _DbaasError) return error;
    let code = error?.code;
    if (code === "ENOSPC" || code === "SQLITE_FULL" || code === "EDQUOT")
      return new _DbaasError("DISK_FULL", "the disk is full", {
        cause: error,
        suggestions: ["free some space, then run the command again", "dbaas doctor"]
      });
    let message = error instanceof Error ? error.message : String(error);
    return new _DbaasError("INTERNAL", message, { cause: error });
  }
};

// src/agent/endpoints/protocol.ts
var nodeFlags = ["--max-semi-space-size=1", "--max-old-space-size=256"];
var encode = (message) => `${JSON.stringify(message)}
`, LineDecoder = class {
  parts = [];
  size = 0;
  push(chunk) {
    let messages = [], from = 0;
    for (let to = chunk.indexOf(10, from); to !== -1; to = chunk.indexOf(10, from))
      this.parts.push(chunk.subarray(from, to)), messages.push(JSON.parse(Buffer.concat(this.parts).toString("utf8"))), this.parts = [], this.size = 0, from = to + 1;
    if (from < chunk.length && (this.parts.push(chunk.subarray(from)), this.size += chunk.length - from, this.size > 8388608))
      throw new Error("a control message is longer than 8 MiB");
    return messages;
  }
};

// src/agent/endpoints/process/agent-keeper.ts
var import_node_child_process = require("node:child_process"), firstDelayMs = 200, longestDelayMs = 3e4, firstContactMs = 5e3, startupMs = 15e3, AgentKeeper = class {
  #launch;
  #delayMs = firstDelayMs;
  #timer;
  #child = null;
  /** Started here and not yet ended, whether they connected or not. */
  #started = /* @__PURE__ */ new Set();
  constructor(launch) {
    this.#launch = launch, this.#startIn(firstContactMs);
  }
  get launch() {
    return this.#launch;
  }
  connected(launch) {
    this.#launch = launch, this.rest();
  }
  lost() {
    this.#delayMs = firstDelayMs, this.#startIn(firstDelayMs);
  }
  /** Somebody else sees to the agent now, or nobody should. */
  rest() {
    clearTimeout(this.#timer), this.#timer = void 0, this.#delayMs = firstDelayMs, this.#child = null;
  }
  /**
   * The agent was asked to stop. One that was started here and is still on its way would find the lock free a moment
   * later, and undo the stop; the agent that stops takes the signal for what it does already.
   */
  stopAsked() {
    for (let child of this.#started) child.kill("SIGTERM");
    this.rest();
  }
  #startIn(ms) {
    clearTimeout(this.#timer), this.#timer = setTimeout(() => this.#start(), ms);
  }
  #start() {
    let [program, ...parameters] = this.#launch.command;
    if (program === void 0) return;
    let child = (0, import_node_child_process.spawn)(program, parameters, { detached: !0, stdio: "ignore", cwd: "/", env: this.#launch.env });
    this.#child = child, this.#started.add(child), child.on("exit", () => this.#started.delete(child));
    let again = (because) => {
      this.#child === child && (this.#child = null, console.error(`the agent did not come back (${because}); next attempt in ${this.#delayMs} ms`), this.#startIn(this.#delayMs), this.#delayMs = Math.min(this.#delayMs * 2, longestDelayMs));
    };
    child.on("error", (error) => again(error.message)), child.on("exit", (code, signal) => again(`it ended with ${signal ?? code}`)), child.unref(), clearTimeout(this.#timer), this.#timer = setTimeout(() => again("it does not connect"), startupMs);
  }
};

// src/agent/endpoints/process/ancestor.ts
var Ancestor = class {
  #next = 1;
  #waiting = /* @__PURE__ */ new Map();
  constructor() {
    process.on("message", (message) => {
      if (message.type !== "done") return;
      let { number, result } = message;
      this.#waiting.get(number)?.(result), this.#waiting.delete(number);
    }), process.on("disconnect", () => {
      for (let resolve of this.#waiting.values()) resolve(null);
      this.#waiting.clear();
    });
  }
  get isThere() {
    return process.connected === !0;
  }
  /** Null when it has ended, or does not answer: its sessions end with it, or with their server. */
  order(order) {
    if (!this.isThere) return Promise.resolve(null);
    let number = this.#next++;
    return new Promise((resolve) => {
      let late = setTimeout(() => resolve(null), 3e3);
      this.#waiting.set(number, (result) => {
        clearTimeout(late), resolve(result);
      }), process.send?.({ type: "order", number, order }, void 0, void 0, () => {
      });
    });
  }
};

// src/agent/endpoints/process/control-server.ts
var import_node_fs2 = require("node:fs"), import_node_net = require("node:net"), import_node_path2 = require("node:path");

// src/agent/endpoints/socket-path.ts
var import_node_crypto = require("node:crypto"), import_node_fs = require("node:fs"), import_node_path = require("node:path");
var socketPathLimitBytes = 100;
function shortSocketPath(preferred, options = {}) {
  if (Buffer.byteLength(preferred) <= socketPathLimitBytes) return preferred;
  let hash = (0, import_node_crypto.createHash)("sha256").update(preferred).digest("hex").slice(0, 24), folder = (0, import_node_path.join)(options.root ?? "/tmp", `dbaas-${hash}`);
  if (options.make ?? !0)
    try {
      (0, import_node_fs.mkdirSync)(folder, { mode: 448 });
    } catch (error) {
      let { code } = error;
      if (code !== "EEXIST") throw unusable(folder, preferred, "it cannot be made", error);
    }
  let found = (0, import_node_fs.lstatSync)(folder, { throwIfNoEntry: !1 });
  if (!found) return (0, import_node_path.join)(folder, "s");
  if (!found.isDirectory()) throw unusable(folder, preferred, "it is not a folder");
  if (process.getuid && found.uid !== process.getuid()) throw unusable(folder, preferred, "it belongs to another user");
  if ((found.mode & 63) !== 0) throw unusable(folder, preferred, "other users may enter it");
  return (0, import_node_path.join)(folder, "s");
}
function unusable(folder, preferred, why, cause) {
  let message = `the folder ${folder}, needed because ${preferred} is too long for a socket, cannot be used: ${why}`;
  return new DbaasError("HOME_UNUSABLE", message, {
    cause,
    details: { path: folder, preferred },
    suggestions: [`ls -ld ${folder}`, 'export DBAAS_HOME="$HOME/.dbaas"   # any shorter path does']
  });
}

// src/agent/endpoints/process/control-server.ts
var ControlServer = class {
  #server = null;
  #connections = /* @__PURE__ */ new Set();
  #preferredPath;
  #path = "";
  #handle;
  #onLost;
  constructor(preferredPath, handle, onLost) {
    this.#preferredPath = preferredPath, this.#handle = handle, this.#onLost = onLost;
  }
  async open() {
    let server = (0, import_node_net.createServer)((connection) => this.#serve(connection));
    this.#path = shortSocketPath(this.#preferredPath);
    try {
      (0, import_node_fs2.unlinkSync)(this.#path);
    } catch (error) {
      if (error.code !== "ENOENT") throw error;
    }
    await new Promise((resolve, reject) => {
      server.once("error", reject), server.listen(this.#path, () => resolve());
    }), server.removeAllListeners("error").on("error", (error) => console.error(`control socket: ${error.message}`)), (0, import_node_fs2.chmodSync)(this.#path, 384), this.#server = server;
  }
  /** New agents find nobody, the connected ones go on. */
  closeToNew() {
    this.#server?.close(), this.#server = null;
  }
  close() {
    this.closeToNew();
    for (let connection of this.#connections) connection.destroySoon();
  }
  /** For good: a folder in /tmp goes too. Before the lock is given up, or it would be the next process' folder. */
  leave() {
    if (this.close(), this.#path !== this.#preferredPath)
      try {
        (0, import_node_fs2.rmdirSync)((0, import_node_path2.dirname)(this.#path));
      } catch {
      }
  }
  /** A cleaner of /tmp may have taken the socket away; nobody would ever find this process again. */
  async reopenIfGone() {
    !this.#server || (0, import_node_fs2.existsSync)(this.#path) || (this.closeToNew(), await this.open());
  }
  #serve(connection) {
    let decoder = new LineDecoder();
    this.#connections.add(connection), connection.on("error", () => connection.destroy()), connection.on("close", () => {
      this.#connections.delete(connection), this.#onLost(connection);
    }), connection.on("data", (chunk) => {
      try {
        for (let request of decoder.push(chunk)) this.#answer(connection, request);
      } catch (error) {
        console.error(`control connection closed: ${error.message}`), connection.destroy();
      }
    });
  }
  async #answer(connection, request) {
    let reply = await this.#handle(request, connection).then(
      (result) => ({ id: request.id, result }),
      (error) => ({ id: request.id, error: DbaasError.from(error).toDetail() })
    );
    connection.destroyed || connection.write(encode(reply));
  }
};

// src/agent/endpoints/process/lock.ts
var import_node_child_process2 = require("node:child_process"), import_node_fs3 = require("node:fs"), openExclusivelyLocked = 32;
function acquireLock(path) {
  for (; ; ) {
    let descriptor = process.platform === "linux" ? lockByProgram(path) : lockByOpen(path);
    if (descriptor === null) return null;
    if (isStillAt(path, descriptor)) return descriptor;
    (0, import_node_fs3.closeSync)(descriptor);
  }
}
function lockByProgram(path) {
  let descriptor = (0, import_node_fs3.openSync)(path, import_node_fs3.constants.O_RDWR | import_node_fs3.constants.O_CREAT, 384), result = (0, import_node_child_process2.spawnSync)("flock", ["-x", "-n", "3"], { stdio: ["ignore", "ignore", "pipe", descriptor] });
  if (result.status === 0) return descriptor;
  if ((0, import_node_fs3.closeSync)(descriptor), result.status === 1) return null;
  throw new Error(`flock(1) of util-linux could not lock ${path}: ${result.error?.message ?? String(result.stderr)}`);
}
function lockByOpen(path) {
  try {
    return (0, import_node_fs3.openSync)(path, import_node_fs3.constants.O_RDWR | import_node_fs3.constants.O_CREAT | import_node_fs3.constants.O_NONBLOCK | openExclusivelyLocked, 384);
  } catch (error) {
    let { code } = error;
    if (code === "EAGAIN" || code === "EWOULDBLOCK") return null;
    throw error;
  }
}
function isStillAt(path, descriptor) {
  let ours = (0, import_node_fs3.fstatSync)(descriptor), there = (0, import_node_fs3.statSync)(path, { throwIfNoEntry: !1 });
  return there?.ino === ours.ino && there.dev === ours.dev;
}

// src/agent/endpoints/process/allow-list.ts
var import_node_net2 = require("node:net");
var mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;
function allowList(cidrs) {
  if (cidrs.length === 0) return () => !0;
  let list = new import_node_net2.BlockList();
  for (let cidr of cidrs) {
    let [network = "", prefix, ...rest] = cidr.split("/"), version = (0, import_node_net2.isIP)(network), widest = version === 4 ? 32 : 128, bits = prefix === void 0 ? widest : /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN;
    if (version === 0 || network.includes("%") || rest.length > 0 || !(bits >= 0 && bits <= widest))
      throw new DbaasError("INVALID_REQUEST", `"${cidr}" is not an address range`, {
        details: { value: cidr },
        suggestions: ["write a CIDR: 10.0.0.0/8, 192.168.1.7/32, fd00::/8"]
      });
    list.addSubnet(network, bits, version === 4 ? "ipv4" : "ipv6");
  }
  return (address) => {
    let bare = (mapped.exec(address)?.[1] ?? address).split("%")[0], version = (0, import_node_net2.isIP)(bare);
    return version !== 0 && list.check(bare, version === 4 ? "ipv4" : "ipv6");
  };
}

// src/agent/endpoints/process/listen.ts
var import_node_net4 = require("node:net");

// src/agent/endpoints/process/byte-reader.ts
var import_node_net3 = require("node:net"), shared = Buffer.allocUnsafeSlow(64 * 1024), reader = (sink) => ({
  buffer: shared,
  callback: (size, buffer) => sink(Buffer.from(buffer.subarray(0, size)))
}), socketOptions = { allowHalfOpen: !0, noDelay: !0, keepAlive: !0, keepAliveInitialDelay: 6e4 };
function connectReading(address, sink) {
  return (0, import_node_net3.connect)({ ...address, ...socketOptions, onread: reader(sink) });
}
var acceptOptions = { ...socketOptions, pauseOnConnect: !0 };
function readAccepted(accepted, sink) {
  let inner = accepted, handle = inner._handle;
  return typeof handle?.useUserBuffer != "function" ? (accepted.on("data", (bytes) => {
    sink(bytes) || accepted.pause();
  }), accepted.resume(), accepted) : (inner._handle = null, new import_node_net3.Socket({ handle, allowHalfOpen: !0, onread: reader(sink) }));
}

// src/agent/endpoints/process/listen.ts
var backlog = 1024;
function listen(address, accept) {
  let server = (0, import_node_net4.createServer)(acceptOptions, accept);
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(translate(error, address))), server.listen({ host: address.host, port: address.port, backlog, exclusive: !0 }, () => {
      server.removeAllListeners("error"), resolve(tolerant(server));
    });
  });
}
function adoptListener(received, accept) {
  return tolerant((0, import_node_net4.createServer)(acceptOptions, accept).listen(received, backlog));
}
function tolerant(server) {
  return server.on("error", (error) => console.error(`accept failed: ${error.message}`));
}
function translate(error, { host, port }) {
  let details = { host, port: String(port) };
  switch (error.code) {
    case "EADDRINUSE":
      return new DbaasError("PORT_IN_USE", `port ${port} of ${host} is taken`, {
        cause: error,
        details,
        suggestions: ["choose another port with --port", `lsof -nP -iTCP:${port} -sTCP:LISTEN   # who has it`]
      });
    case "EACCES":
      return new DbaasError("INVALID_REQUEST", `port ${port} needs privileges that the agent does not have`, {
        cause: error,
        details,
        suggestions: ["choose a port from 1024 to 65535 with --port"]
      });
    default:
      return new DbaasError("INVALID_REQUEST", `the endpoint cannot listen on ${host}:${port}: ${error.message}`, {
        cause: error,
        details,
        suggestions: ["ip addr   # the addresses of this machine"]
      });
  }
}

// src/agent/endpoints/process/one-way.ts
var import_node_net5 = require("node:net"), deliveryMs = 2e3;
function deliver(bytes, to) {
  let socket = (0, import_node_net5.connect)({ ...to, noDelay: !0 });
  socket.setTimeout(deliveryMs, () => socket.destroy()), socket.on("error", () => socket.destroy()), socket.resume().end(bytes);
}

// src/agent/endpoints/process/session.ts
var connectForMs = 1e3, connectAgainMs = 20, connectTimeoutMs = 5e3, connectOneOfSeveralMs = 1e3, earlyLimitBytes = 64 * 1024, flushForMs = 5e3, Session = class {
  state = "held";
  /** Where it is, or is going. */
  target = null;
  #client;
  #options;
  #inspect;
  /** Too little of it yet to be judged. */
  #first;
  #target = null;
  #early = [];
  #earlyBytes = 0;
  #clientEnded = !1;
  #openSockets = 1;
  #timer;
  constructor(accepted, options) {
    this.#options = options, this.#inspect = options.inspect, this.#client = readAccepted(accepted, this.#fromClient), this.#client.on("end", this.#onClientEnd), this.#client.on("error", this.close), this.#client.on("drain", () => this.#target?.resume()), this.#client.on("close", () => {
      this.#openSockets--, this.state !== "established" && this.close(), this.#settle();
    });
  }
  /** Waits, at most so long; also takes back a session that was on its way to a target. */
  hold(forMs) {
    this.state !== "held" && this.state !== "connecting" || (this.#abandonTarget(), this.target = null, this.#timer = setTimeout(() => this.refuse(), forMs), this.#become("held"), this.#dropSilent());
  }
  /** Connects to the first of the targets that can be reached; also when it was on its way to another. With none it is refused. */
  forward(targets) {
    if (!(this.state !== "held" && this.state !== "connecting")) {
      if (targets.length === 0) return this.refuse();
      this.#abandonTarget(), this.#become("connecting"), this.#connect(targets, 0, Date.now() + connectForMs);
    }
  }
  /** Says why, where there are words for it, and ends. */
  refuse() {
    if (this.state !== "held" && this.state !== "connecting") return;
    let refusal = this.#options.refusal();
    if (refusal === void 0) return this.close();
    this.#abandonTarget(), this.target = null, this.#inspect = void 0, this.#become("refused"), this.#timer = setTimeout(this.close, flushForMs), (refusal.when === "at-once" || this.#earlyBytes > 0) && this.#client.end(Buffer.from(refusal.base64, "base64"));
  }
  /** Closes both sides at once. */
  close = () => {
    clearTimeout(this.#timer), this.#client.destroy(), this.#target?.destroy();
  };
  #connect(targets, attempt, until) {
    let address = targets[attempt % targets.length], target = connectReading(address, this.#fromTarget);
    this.target = address, this.#target = target, this.#openSockets++;
    let connected = !1, tryNext = () => {
      clearTimeout(this.#timer);
      let allTried = (attempt + 1) % targets.length === 0;
      if (allTried && Date.now() >= until) return this.refuse();
      if (!allTried) return this.#connect(targets, attempt + 1, until);
      this.#timer = setTimeout(() => this.#connect(targets, attempt + 1, until), connectAgainMs);
    };
    target.on("close", () => {
      this.#openSockets--, this.#settle();
    }), this.#timer = setTimeout(() => {
      if (targets.length === 1) return this.refuse();
      target.destroy(), tryNext();
    }, targets.length === 1 ? connectTimeoutMs : connectOneOfSeveralMs), target.on("error", () => {
      if (this.#target === target) {
        if (!connected) return tryNext();
        clearTimeout(this.#timer), this.#endAfterTarget();
      }
    }), target.on("connect", () => {
      this.#target === target && (connected = !0, clearTimeout(this.#timer), this.#establish(target));
    });
  }
  #establish(target) {
    target.on("drain", () => this.#client.resume()), target.on("end", () => this.#client.end()), this.#become("established");
    for (let bytes of this.#early) target.write(bytes);
    this.#early = [], this.#clientEnded ? target.end() : target.writableNeedDrain || this.#client.resume();
  }
  #fromClient = (bytes) => this.#inspect !== void 0 ? this.#judge(this.#first === void 0 ? bytes : Buffer.concat([this.#first, bytes]), this.#inspect) : this.state === "refused" ? this.#hearRefused() : this.state === "established" ? this.#target.write(bytes) : (this.#early.push(bytes), this.#earlyBytes += bytes.length, this.#earlyBytes < earlyLimitBytes);
  #judge(first, inspect) {
    return first.length < inspect.bytes ? (this.#first = first, !0) : (this.#inspect = void 0, this.#first = void 0, inspect.passes(first, this) ? this.#fromClient(first) : (this.close(), !0));
  }
  /** The first word of one who speaks first is answered; the rest is nobody's. */
  #hearRefused() {
    let refusal = this.#options.refusal();
    return this.#earlyBytes === 0 && refusal?.when === "when-spoken-to" && this.#client.end(Buffer.from(refusal.base64, "base64")), this.#earlyBytes = 1, !0;
  }
  #fromTarget = (bytes) => this.#client.write(bytes);
  #onClientEnd = () => {
    this.#clientEnded = !0, this.#first !== void 0 && (this.#inspect = void 0, this.#fromClient(this.#first)), this.state === "established" ? this.#target?.end() : this.state === "held" && this.#dropSilent();
  };
  /** Who left the queue without a word needs no server; what others said (a cancel request) is still delivered. */
  #dropSilent() {
    this.#clientEnded && this.#earlyBytes === 0 && this.close();
  }
  /** The target broke: the client still gets what was read from it, then the end. */
  #endAfterTarget() {
    if (this.#client.writableLength === 0) return this.close();
    this.#timer = setTimeout(this.close, flushForMs), this.#client.destroySoon();
  }
  #abandonTarget() {
    clearTimeout(this.#timer);
    let target = this.#target;
    this.#target = null, target?.destroy();
  }
  #settle() {
    this.#openSockets > 0 || !this.#client.destroyed || (clearTimeout(this.#timer), this.#become("closed"));
  }
  #become(state) {
    this.state !== "closed" && (this.state = state, this.#options.onState(this));
  }
};

// src/agent/endpoints/process/gate.ts
var defaultHoldSeconds = 30, defaultHoldLimit = 1e3, refusedLimit = 200, isOpen = ({ mode, target, targets }) => mode === "open" && (target !== null || targets !== void 0), sameAddress = (a, b) => a?.host === b?.host && a?.port === b?.port, Gate = class {
  #route;
  #allow;
  #server = null;
  #problem = null;
  #sessions = /* @__PURE__ */ new Set();
  /** In order of arrival: a Set keeps it. */
  #held = /* @__PURE__ */ new Set();
  #turn = 0;
  /** Nothing listens yet. Throws INVALID_REQUEST for an allow list that cannot be read. */
  constructor(route) {
    this.#route = route, this.#allow = allowList(route.allow);
  }
  get route() {
    return this.#route;
  }
  get server() {
    return this.#server;
  }
  get sessionCount() {
    return this.#sessions.size;
  }
  get wantsListener() {
    return this.#route.mode !== "closed" && this.#server === null;
  }
  state() {
    return {
      ...this.#route,
      listening: this.#server !== null,
      problem: this.wantsListener ? this.#problem : null,
      sessions: this.#sessions.size - this.#held.size,
      held: this.#held.size
    };
  }
  /** Listens for the route, unless closed or listening already. Throws as `listen`; the reason is kept as problem. */
  async open() {
    if (this.wantsListener)
      try {
        this.#server = await listen(this.#route.listen, this.#accept), this.#problem = null;
      } catch (error) {
        throw this.#problem = error.message, error;
      }
  }
  adopt(received) {
    this.#server = adoptListener(received, this.#accept);
  }
  /**
   * Puts a changed route in force. Established sessions go on whatever changes, until `closeSessions`: a new target or
   * allow list is for those who are not through yet. A new address is listened on before the old one is given up.
   */
  async change(route) {
    let allow = allowList(route.allow), moves = !sameAddress(route.listen, this.#route.listen);
    if (route.mode !== "closed" && (moves || this.#server === null)) {
      let server = await listen(route.listen, this.#accept);
      this.#server?.close(), this.#server = server;
    }
    this.apply(route, allow);
  }
  /** As `change`, but never makes a listener: for a process that drains. */
  apply(route, allow = allowList(route.allow)) {
    let retargeted = !sameAddress(route.target, this.#route.target), lost = (session) => route.targets !== void 0 && !route.targets.some((each) => sameAddress(each, session.target));
    this.#route = route, this.#allow = allow, route.mode === "closed" && this.unlisten();
    for (let session of [...this.#sessions])
      session.state === "established" || session.state === "refused" || (route.mode === "closed" ? session.close() : isOpen(route) ? (session.state === "held" || retargeted || lost(session)) && this.#forward(session) : session.state === "connecting" && this.#hold(session));
  }
  /** Gives up the listener; sessions go on. */
  unlisten() {
    this.#server?.close(), this.#server = null;
  }
  /** How many sessions there were. Those that are held or on their way stay: they follow the route. */
  closeSessions(target) {
    let established = [...this.#sessions].filter((session) => session.state === "established" && (target === void 0 || sameAddress(target, session.target)));
    for (let session of established) session.close();
    return established.length;
  }
  /** Ends everything of the route. */
  close() {
    this.unlisten();
    for (let session of this.#sessions) session.close();
  }
  #accept = (socket) => {
    let open2 = isOpen(this.#route), unwelcome = !open2 && this.#held.size >= (this.#route.holdLimit ?? defaultHoldLimit) || open2 && this.#route.targets?.length === 0;
    if (unwelcome && this.#refused >= refusedLimit || !this.#allow(socket.remoteAddress ?? "")) {
      socket.on("error", () => {
      }).destroy();
      return;
    }
    let session = new Session(socket, { onState: this.#onState, refusal: () => this.#route.refusal, inspect: this.#inspecting() });
    this.#sessions.add(session), unwelcome ? session.refuse() : open2 ? this.#forward(session) : this.#hold(session);
  };
  #hold(session) {
    session.hold((this.#route.holdSeconds ?? defaultHoldSeconds) * 1e3);
  }
  #forward(session) {
    let { target, targets } = this.#route;
    session.forward(targets === void 0 ? [target] : this.#byLoad(targets));
  }
  /** The one with the fewest sessions first; among equals, each in its turn. */
  #byLoad(targets) {
    let first = this.#turn++ % Math.max(1, targets.length);
    return [...targets.slice(first), ...targets.slice(0, first)].map((each) => {
      let sessions = 0;
      for (let session of this.#sessions) sameAddress(each, session.target) && sessions++;
      return { each, sessions };
    }).sort((a, b) => a.sessions - b.sessions).map(({ each }) => each);
  }
  /** Undefined where nothing has to be looked at, which is cheaper. */
  #inspecting() {
    let { cancel } = this.#route;
    if (cancel === void 0) return;
    let mark = Buffer.from(cancel.hex, "hex");
    return {
      bytes: cancel.offset + mark.length,
      passes: (first, session) => {
        if (!first.subarray(cancel.offset, cancel.offset + mark.length).equals(mark)) return !0;
        if (this.#route.cancel?.mode === "drop") return !1;
        for (let other of this.#route.targets ?? []) sameAddress(other, session.target) || deliver(first, other);
        return !0;
      }
    };
  }
  get #refused() {
    let count = 0;
    for (let session of this.#sessions) session.state === "refused" && count++;
    return count;
  }
  #onState = (session) => {
    session.state === "held" ? this.#held.add(session) : this.#held.delete(session), session.state === "closed" && this.#sessions.delete(session);
  };
};

// src/agent/endpoints/process/routes-file.ts
var import_promises = require("node:fs/promises"), import_node_path3 = require("node:path"), formatVersion = 1;
async function readRoutes(stateDir) {
  try {
    let text = await (0, import_promises.readFile)((0, import_node_path3.join)(stateDir, "routes.json"), "utf8"), stored = JSON.parse(text);
    return stored.version === formatVersion && Array.isArray(stored.routes) ? stored.routes : [];
  } catch (error) {
    let { code, message } = error;
    return code !== "ENOENT" && console.error(`routes.json is not readable: ${message}`), [];
  }
}
async function writeRoutes(stateDir, routes) {
  let path = (0, import_node_path3.join)(stateDir, "routes.json"), file = await (0, import_promises.open)(`${path}.new`, "w", 384);
  try {
    await file.writeFile(`${JSON.stringify({ version: formatVersion, routes }, null, 2)}
`), await file.sync();
  } finally {
    await file.close();
  }
  await (0, import_promises.rename)(`${path}.new`, path);
  let folder = await (0, import_promises.open)((0, import_node_path3.dirname)(path), "r");
  await folder.sync().finally(() => folder.close());
}

// src/agent/endpoints/process/route-table.ts
var retryMs = 1e3, RouteTable = class {
  #gates = /* @__PURE__ */ new Map();
  #stateDir;
  #turn = Promise.resolve();
  #unsaved = !1;
  #drains = !1;
  #retry;
  constructor(stateDir) {
    this.#stateDir = stateDir, this.#retry = setInterval(() => {
      this.#inTurn(() => this.#repair());
    }, retryMs);
  }
  get routes() {
    return [...this.#gates.values()].map((gate) => gate.route);
  }
  get states() {
    return [...this.#gates.values()].map((gate) => gate.state());
  }
  get sessionCount() {
    let count = 0;
    for (let gate of this.#gates.values()) count += gate.sessionCount;
    return count;
  }
  /** Throws PORT_IN_USE or INVALID_REQUEST; the route is then as it was before. */
  put(route) {
    return this.#inTurn(async () => {
      let gate = this.#gates.get(route.id);
      if (this.#drains) gate?.apply(keeping(route, gate));
      else if (gate) await gate.change(keeping(route, gate));
      else {
        let made = new Gate(route);
        await made.open(), this.#gates.set(route.id, made);
      }
      await this.#save();
    });
  }
  setCancels(id, cancel) {
    return this.#inTurn(async () => {
      let gate = this.#gates.get(id);
      gate && (gate.apply({ ...gate.route, cancel }), await this.#save());
    });
  }
  remove(id) {
    return this.#inTurn(async () => {
      for (let { route } of [...this.#gates.values()]) route.of === id && this.#drop(route.id);
      this.#drop(id), await this.#save();
    });
  }
  /** A route that cannot listen now stays, with its problem, and is tried again each second. */
  replace(routes) {
    return this.#inTurn(async () => {
      for (let route of routes) allowList(route.allow);
      let wanted = new Map(routes.map((route) => [route.id, route]));
      for (let [id, gate] of this.#gates) {
        let route = wanted.get(id);
        !route && gate.route.of !== void 0 && wanted.has(gate.route.of) || (route ? sameAddress(route.listen, gate.route.listen) || gate.unlisten() : this.#drop(id));
      }
      for (let route of wanted.values()) {
        let gate = this.#gates.get(route.id);
        gate ? gate.apply(keeping(route, gate)) : this.#drains || this.#gates.set(route.id, new Gate(route));
      }
      return await this.#openAll(), await this.#save(), this.states;
    });
  }
  closeSessions(id, target) {
    return this.#gates.get(id)?.closeSessions(target) ?? 0;
  }
  /** Takes a route over from the predecessor, with its listener. In force at once. */
  adopt(route, server) {
    let gate = new Gate(route);
    server && gate.adopt(server), this.#gates.set(route.id, gate);
  }
  /** Runs when no change is under way, and lets none begin before it ends. */
  exclusively(act) {
    return this.#inTurn(() => act([...this.#gates.values()]));
  }
  /** From now on sessions end and none begin; held ones still follow their route. */
  drain() {
    this.#drains = !0, clearInterval(this.#retry);
    for (let gate of this.#gates.values()) gate.unlisten();
  }
  close() {
    this.drain();
    for (let gate of this.#gates.values()) gate.close();
  }
  #drop(id) {
    this.#gates.get(id)?.close(), this.#gates.delete(id);
  }
  async #repair() {
    this.#drains || (await this.#openAll(), this.#unsaved && await this.#save());
  }
  async #openAll() {
    if (!this.#drains)
      for (let gate of this.#gates.values()) await gate.open().catch(() => {
      });
  }
  /** A full disk must not cost a running database its endpoint: the routes stay in force, and saving is tried again. */
  async #save() {
    if (!this.#drains)
      try {
        await writeRoutes(this.#stateDir, this.routes), this.#unsaved = !1;
      } catch (error) {
        this.#unsaved || console.error(`routes.json cannot be written: ${error.message}`), this.#unsaved = !0;
      }
  }
  #inTurn(act) {
    let result = this.#turn.then(act);
    return this.#turn = result.catch(() => {
    }), result;
  }
}, keeping = (route, { route: { cancel } }) => route.cancel !== void 0 || cancel === void 0 ? route : { ...route, cancel };

// src/agent/endpoints/process/succession.ts
var import_node_child_process3 = require("node:child_process"), import_node_events = require("node:events");
var stepMs = 1e4;
function handOver({ bundle, boot, lock, table, beforeCommit }) {
  return table.exclusively(async (gates) => {
    let successor = (0, import_node_child_process3.spawn)(process.execPath, [...nodeFlags, bundle], {
      detached: !0,
      cwd: "/",
      stdio: ["ignore", "inherit", "inherit", "ipc", lock]
    }), answers = new Answers(successor);
    try {
      await send(successor, boot), await answers.next("booted");
      for (let { route, server } of gates)
        await send(successor, { type: "route", route, listening: server !== null }, server), await answers.next("adopted");
      return beforeCommit(), await send(successor, { type: "commit" }), await answers.next("serving"), table.drain(), successor;
    } catch (error) {
      throw successor.kill("SIGKILL"), successor.pid !== void 0 && successor.exitCode === null && successor.signalCode === null && await (0, import_node_events.once)(successor, "exit"), error;
    }
  });
}
function inherit(table) {
  return new Promise((resolve) => {
    let orphaned2 = () => resolve("orphaned");
    process.once("disconnect", orphaned2), process.on("message", function take(message, server) {
      message.type === "route" ? (table.adopt(message.route, message.listening && server ? server : null), answer({ type: "adopted", routeId: message.route.id })) : message.type === "commit" && (process.off("message", take), process.off("disconnect", orphaned2), resolve("committed"));
    }), answer({ type: "booted" });
  });
}
function answer(message) {
  process.connected && process.send?.(message, void 0, void 0, () => {
  });
}
function send(child, message, server = null) {
  return new Promise((resolve, reject) => {
    child.send(message, server ?? void 0, void 0, (error) => error ? reject(error) : resolve());
  });
}
var Answers = class {
  #come = [];
  #wake = null;
  #ended = null;
  constructor(child) {
    child.on("message", (message) => {
      this.#come.push(message), this.#wake?.();
    });
    let end = (because) => {
      this.#ended ??= because, this.#wake?.();
    };
    child.on("error", (error) => end(error.message)), child.on("exit", (code, signal) => end(`it ended with ${signal ?? code}`));
  }
  async next(type) {
    let until = Date.now() + stepMs;
    for (; this.#come.length === 0; ) {
      let left = until - Date.now();
      if (this.#ended !== null || left <= 0)
        throw new Error(`the successor did not say "${type}": ${this.#ended ?? `no word for ${stepMs} ms`}`);
      await new Promise((resolve) => {
        let late = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(late), resolve();
        };
      });
    }
    let got = this.#come.shift(), said = "message" in got ? got.message : got.type;
    if (got.type !== type) throw new Error(`the successor said "${said}" instead of "${type}"`);
  }
};

// src/agent/endpoints/process/endpoint-process.ts
var watchMs = 2e3, drainStepMs = 200, gracefulMs = 5e3, EndpointProcess = class _EndpointProcess {
  #boot;
  #lock;
  #table;
  #keeper;
  #control;
  #ancestor;
  #startedAt = Date.now();
  #home;
  #agent = null;
  #agentIsWanted = !0;
  #reigns = !0;
  #ending = !1;
  /** Undefined when another process holds the lock of the folder. */
  static async start(boot) {
    let lock = boot.succeeds ? 4 : acquireLock((0, import_node_path4.join)(boot.stateDir, "endpoint.lock"));
    if (lock === null) return;
    let endpoint = new _EndpointProcess(boot, lock);
    return await endpoint.#serve(), endpoint;
  }
  constructor(boot, lock) {
    this.#boot = boot, this.#lock = lock, this.#home = (0, import_node_fs4.statSync)(boot.stateDir), this.#table = new RouteTable(boot.stateDir), this.#keeper = new AgentKeeper(boot.agent), this.#ancestor = boot.succeeds ? new Ancestor() : null, this.#control = new ControlServer((0, import_node_path4.join)(boot.stateDir, "control.sock"), this.#handle, this.#onLost);
  }
  async #serve() {
    (!this.#boot.succeeds || await inherit(this.#table) === "orphaned") && await this.#table.replace(await readRoutes(this.#boot.stateDir)).catch((error) => {
      console.error(`the routes of routes.json cannot be restored: ${error.message}`);
    }), await this.#control.open(), setInterval(() => this.#watch(), watchMs), answer({ type: "serving", pid: process.pid });
  }
  /** Ends: no new sessions from now on, and established ones have so long to end by themselves. */
  async end(graceMs = gracefulMs) {
    let hurry = this.#ending;
    this.#ending = !0, this.#agentIsWanted = !1, this.#keeper.rest(), await this.#table.exclusively(async () => {
    }), this.#table.drain(), this.#reigns && (this.#control.leave(), (0, import_node_fs4.closeSync)(this.#lock), this.#reigns = !1);
    let ancestor = this.#ancestor?.order({ kind: "end" }), until = Date.now() + (hurry ? 0 : graceMs);
    for (; this.#table.sessionCount > 0 && Date.now() < until; ) await pause(drainStepMs);
    this.#table.close(), await ancestor, process.exit(0);
  }
  #handle = async (request, from) => {
    switch (request.op) {
      case "hello":
        return this.#welcome(from, request.agent);
      case "put":
        return await this.#table.put(request.route), await this.#ancestor?.order({ kind: "put", route: request.route }), null;
      case "remove":
        return await this.#table.remove(request.routeId), await this.#ancestor?.order({ kind: "remove", routeId: request.routeId }), null;
      case "replace":
        return await this.#table.replace(request.routes), await this.#ancestor?.order({ kind: "replace", routes: request.routes }), this.#states();
      case "setCancels":
        return await this.#table.setCancels(request.routeId, request.cancel), null;
      case "closeSessions":
        return this.#closeSessions(request.routeId, request.target);
      case "status":
        return {
          pid: process.pid,
          protocol: 2,
          build: this.#boot.build,
          startedAt: this.#startedAt,
          routes: await this.#states(),
          memoryBytes: process.memoryUsage.rss()
        };
      case "detach":
        return this.#agentIsWanted = !1, this.#keeper.stopAsked(), null;
      case "stop":
        return this.#keeper.stopAsked(), setImmediate(() => {
          this.end(0);
        }), null;
      case "upgrade":
        return await this.#upgrade(request.bundle, request.build), null;
      default:
        throw new DbaasError("NOT_SUPPORTED", `the endpoint process does not know "${request.op}"`, {
          suggestions: ["dbaas agent restart"]
        });
    }
  };
  /** The newest agent is the agent: it holds the agent's lock, so the one before it is dead or about to be. */
  #welcome(from, launch) {
    let before = this.#agent;
    return this.#agent = from, before !== from && before?.destroySoon(), this.#agentIsWanted = !0, this.#keeper.connected(launch), { protocol: 2, pid: process.pid, build: this.#boot.build, startedAt: this.#startedAt };
  }
  #onLost = (connection) => {
    connection === this.#agent && (this.#agent = null, this.#agentIsWanted && this.#reigns && this.#keeper.lost());
  };
  async #upgrade(bundle, build) {
    if (!this.#reigns) throw new DbaasError("INVALID_STATE", "the endpoint process is being replaced already");
    let boot = { ...this.#boot, build, agent: this.#keeper.launch, succeeds: !0 }, closed = !1, beforeCommit = () => {
      closed = !0, this.#control.closeToNew();
    };
    try {
      let successor = await handOver({ bundle, boot, lock: this.#lock, table: this.#table, beforeCommit });
      this.#drainUnder(successor);
    } catch (error) {
      closed && await this.#control.open();
      let message = `the endpoint process cannot be replaced: ${error.message}`;
      throw new DbaasError("ENDPOINT_UNAVAILABLE", message, { cause: error });
    }
  }
  /** No longer in charge. What is left are sessions, which obey the successor's orders and end with it. */
  #drainUnder(successor) {
    this.#reigns = !1, this.#keeper.rest(), (0, import_node_fs4.closeSync)(this.#lock), process.title = `${process.title} (draining)`, successor.on("message", (message) => {
      if (message.type !== "order") return;
      let { number, order } = message;
      this.#obey(order).then((result) => {
        successor.connected && successor.send({ type: "done", number, result }, () => {
        }), order.kind === "end" && this.#exitDrained();
      });
    }), successor.on("disconnect", () => this.#exitDrained()), setInterval(() => {
      this.#table.sessionCount === 0 && !this.#ancestor?.isThere && this.#exitDrained();
    }, drainStepMs), setImmediate(() => this.#control.close());
  }
  #exitDrained() {
    this.#table.close(), setImmediate(() => process.exit(0));
  }
  async #obey(order) {
    switch (order.kind) {
      case "put":
        await this.#table.put(order.route);
        break;
      case "remove":
        await this.#table.remove(order.routeId);
        break;
      case "replace":
        await this.#table.replace(order.routes);
        break;
      case "closeSessions":
        return this.#closeSessions(order.routeId, order.target);
      case "count":
        return Object.fromEntries((await this.#states()).map(({ id, sessions, held }) => [id, { sessions, held }]));
      case "end":
        break;
    }
    return await this.#ancestor?.order(order), null;
  }
  async #closeSessions(routeId, target) {
    let own = this.#table.closeSessions(routeId, target), older = await this.#ancestor?.order({ kind: "closeSessions", routeId, target });
    return own + (typeof older == "number" ? older : 0);
  }
  /** The routes with the sessions of this process and of those that drain under it. */
  async #states() {
    let older = await this.#ancestor?.order({ kind: "count" });
    return this.#table.states.map((state) => {
      let more = older?.[state.id];
      return more ? { ...state, sessions: state.sessions + more.sessions, held: state.held + more.held } : state;
    });
  }
  /** A home that was deleted, or deleted and made again, is not ours any more: leave without a trace. */
  #watch() {
    let found = (0, import_node_fs4.statSync)(this.#boot.stateDir, { throwIfNoEntry: !1 });
    (found?.ino !== this.#home.ino || found.dev !== this.#home.dev) && (console.error("the state folder is gone"), this.#table.close(), this.#reigns && this.#control.leave(), process.exit(0)), this.#reigns && this.#control.reopenIfGone().catch((error) => console.error(`control socket: ${error.message}`));
  }
}, pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// src/agent/endpoints/process/main.ts
var bootMs = 1e4;
process.umask(63);
process.title = "dbaas endpoint";
console.error = (line) => process.stderr.write(`${(/* @__PURE__ */ new Date()).toISOString()} [${process.pid}] ${line}
`);
var orphaned = () => process.exit(1), unborn = setTimeout(orphaned, bootMs);
process.once("disconnect", orphaned);
process.once("message", (boot) => {
  clearTimeout(unborn), process.off("disconnect", orphaned), process.title = `dbaas endpoint ${boot.siteId}`, process.on("message", () => {
  }), run(boot);
});
async function run(boot) {
  try {
    let endpoint = await EndpointProcess.start(boot);
    if (!endpoint)
      return answer({ type: "lost" }), leave(0);
    process.on("SIGHUP", () => {
    }), process.on("SIGTERM", () => {
      endpoint.end();
    }), process.on("SIGINT", () => {
      endpoint.end();
    });
  } catch (error) {
    console.error(`cannot start: ${error.stack}`), answer({ type: "failed", message: error.message }), leave(1);
  }
}
function leave(code) {
  process.exitCode = code, setTimeout(() => process.exit(code), 100);
}
