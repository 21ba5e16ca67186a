import { createServer as createTcpServer, type Server as TcpServer, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { ServerCredentials } from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { NoodleError } from "../common/index.ts";
import { DEFAULT_GRPC_PORT } from "../protocol/index.ts";
import { FLOW_CONTROL_WINDOW_BYTES, serverOptions } from "./channel-options.ts";
import { type Credentials, type PeerIdentity, readIdentity } from "../security/index.ts";
import { GuardedServer } from "./guarded-server.ts";
import type { ServiceBinding } from "./handlers.ts";
import { WRITE_HIGH_WATER_BYTES } from "./message-writer.ts";
import { createReflection } from "./reflection.ts";
import { makeKeyOptions, makeTlsOptions, type ServerSecurity } from "./security.ts";
import { toServiceDefinition } from "./service.ts";
import { setConnectionWindow, setStreamWindow } from "./server-window.ts";

export interface ServerOptions {
  readonly services: readonly ServiceBinding[];
  /** @default "127.0.0.1" */
  readonly host?: string;
  /** 0 = any free port. @default 7421 */
  readonly port?: number;
  /** How the user sets the port, for the error when it is taken. @default "--grpc-port" */
  readonly portOption?: string;
  /** Named in the errors that leave this server. @default "" */
  readonly nodeId?: string;
  /** What a client may send before it must wait for this side. @default 1 MiB */
  readonly flowControlWindowBytes?: number;
  /** Bytes that a stream holds before its writers wait. @default 4 MiB */
  readonly highWaterBytes?: number;
  /** @default undefined: plaintext, and whoever connects may call */
  readonly security?: ServerSecurity | undefined;
}

/** A gRPC server with health and reflection beside the given services. */
export interface NoodleServer {
  /**
   * @returns the port that it listens on
   * @throws PORT_IN_USE naming the port and its option; USAGE when the host is not this machine's
   */
  start(): Promise<number>;
  /** What the health service says of all services. SERVING from `start` to `close` unless set. */
  setServing(serving: boolean): void;
  /** From now on new connections meet this certificate. Without effect on a server in plaintext. */
  renew(credentials: Credentials): void;
  /** Ends the connections of members that may no more be there, whatever runs on them. */
  cutOff(isUnwanted: (peer: PeerIdentity) => boolean): void;
  /**
   * Takes no more calls, lets the open ones finish for `graceMs`, then cuts them off. Closing twice is safe.
   *
   * @default graceMs 2000
   */
  close(graceMs?: number): Promise<void>;
}

const DEFAULT_HOST = "127.0.0.1";
const DEFAULT_GRACE_MS = 2000;

export function createServer(options: ServerOptions): NoodleServer {
  return new HealthyServer(options);
}

class HealthyServer implements NoodleServer {
  readonly #options: ServerOptions;
  readonly #grpc: GuardedServer;
  readonly #health = new HealthImplementation();
  readonly #tcp: TcpServer;
  readonly #renew: (credentials: Credentials) => void;
  readonly #sockets = new Set<Socket>();
  readonly #peers = new Map<TLSSocket, PeerIdentity>();
  #closing: Promise<void> | null = null;

  constructor(options: ServerOptions) {
    this.#options = options;
    const { nodeId = "", security } = options;
    this.#grpc = new GuardedServer(serverOptions(), security?.authorize ?? null, nodeId);
    const settings = {
      nodeId,
      highWaterBytes: options.highWaterBytes ?? WRITE_HIGH_WATER_BYTES,
    };
    for (const binding of options.services) {
      this.#grpc.addService(toServiceDefinition(binding.service), binding.implement(settings));
    }
    this.#health.addToServer(this.#grpc);
    createReflection(options.services.map((binding) => binding.service)).addToServer(this.#grpc);

    const windowBytes = options.flowControlWindowBytes ?? FLOW_CONTROL_WINDOW_BYTES;
    setStreamWindow(this.#grpc, windowBytes);
    // The listener is ours: it reports a taken port by its code, and its sockets can be cut off at the end.
    const injector = this.#grpc.createConnectionInjector(ServerCredentials.createInsecure());
    setConnectionWindow(this.#grpc, windowBytes);
    const inject = (socket: Socket): void => injector.injectConnection(socket);
    if (security === undefined) {
      this.#tcp = createTcpServer({ noDelay: true }, inject);
      this.#renew = () => undefined;
    } else {
      const tls = createTlsServer({ ...makeTlsOptions(security), noDelay: true }, (socket) => {
        this.#meet(socket);
        inject(socket);
      });
      // Whoever fails to be believed has heard so; a server can do no more about it.
      tls.on("tlsClientError", (_error, socket) => socket.destroy());
      this.#renew = (credentials) =>
        tls.setSecureContext({ ...makeTlsOptions(security), ...makeKeyOptions(credentials) });
      this.#tcp = tls;
    }
    this.#tcp.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
  }

  renew(credentials: Credentials): void {
    this.#renew(credentials);
  }

  cutOff(isUnwanted: (peer: PeerIdentity) => boolean): void {
    for (const [socket, peer] of this.#peers) if (isUnwanted(peer)) socket.destroy();
  }

  #meet(socket: TLSSocket): void {
    const peer = socket.authorized ? readIdentity(socket.getPeerCertificate().subjectaltname) : null;
    if (peer === null) return;
    this.#peers.set(socket, peer);
    socket.once("close", () => this.#peers.delete(socket));
  }

  start(): Promise<number> {
    if (this.#closing !== null || this.#tcp.listening) {
      return Promise.reject(new NoodleError("ILLEGAL_STATE", "the server was started already or is closed"));
    }
    const { host = DEFAULT_HOST, port = DEFAULT_GRPC_PORT, portOption = "--grpc-port" } = this.#options;
    return new Promise((resolve, reject) => {
      const onError = (cause: NodeJS.ErrnoException): void => {
        const details = { host, port };
        reject(
          cause.code === "EADDRINUSE"
            ? new NoodleError("PORT_IN_USE", `port ${port} of ${host} is in use (${portOption})`, { details, cause })
            : new NoodleError("USAGE", `cannot listen on ${host}, port ${port}: ${cause.message}`, { details, cause }),
        );
      };
      this.#tcp.once("error", onError);
      this.#tcp.listen({ host, port }, () => {
        this.#tcp.removeListener("error", onError);
        const address = this.#tcp.address();
        this.setServing(true);
        resolve(typeof address === "object" && address !== null ? address.port : port);
      });
    });
  }

  setServing(serving: boolean): void {
    const status = serving ? "SERVING" : "NOT_SERVING";
    this.#health.setStatus("", status);
    for (const { service } of this.#options.services) this.#health.setStatus(service.typeName, status);
  }

  close(graceMs = DEFAULT_GRACE_MS): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<void> {
    this.setServing(false);
    const listenerClosed = new Promise<void>((resolve) => {
      if (this.#tcp.listening) this.#tcp.close(() => resolve());
      else resolve();
    });
    const callsDone = new Promise<void>((resolve) => this.#grpc.tryShutdown(() => resolve()));
    const cutOff = setTimeout(() => {
      this.#grpc.forceShutdown();
      for (const socket of this.#sockets) socket.destroy();
    }, graceMs);
    await callsDone;
    await listenerClosed;
    clearTimeout(cutOff);
  }
}
