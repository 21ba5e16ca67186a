import {
  type sendUnaryData,
  Server,
  type ServerOptions,
  type ServiceDefinition,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import type { NoodleError } from "../common/index.ts";
import type { PeerIdentity } from "../security/index.ts";
import { type AuthenticatedCall, readPeer } from "./peer.ts";
import { toStatus } from "./status.ts";

/** Why a peer may not make a call; null when it may. */
export type Authorize = (peer: PeerIdentity | null, method: string) => NoodleError | null;

interface AnyCall extends AuthenticatedCall {
  emit(event: "error", error: object): unknown;
}

/** The library's server with a look at the caller before every call of every service, health and reflection included. */
export class GuardedServer extends Server {
  readonly #authorize: Authorize | null;
  readonly #nodeId: string;

  constructor(options: ServerOptions, authorize: Authorize | null, nodeId: string) {
    super(options);
    this.#authorize = authorize;
    this.#nodeId = nodeId;
  }

  override addService(service: ServiceDefinition, implementation: UntypedServiceImplementation): void {
    const authorize = this.#authorize;
    if (authorize === null) {
      super.addService(service, implementation);
      return;
    }
    const guarded: UntypedServiceImplementation = {};
    for (const [name, { path }] of Object.entries(service)) {
      const handler = implementation[name];
      if (handler !== undefined) guarded[name] = this.#guard(handler.bind(implementation), path, authorize);
    }
    super.addService(service, guarded);
  }

  #guard(handler: UntypedHandleCall, path: string, authorize: Authorize): UntypedHandleCall {
    const guarded = (call: AnyCall, respond?: sendUnaryData<unknown>): void => {
      const refusal = authorize(readPeer(call), path);
      // Both kinds of handlers; the second argument is there where the call has one answer.
      if (refusal === null) return (handler as (call: unknown, respond?: unknown) => void)(call, respond);
      const status = toStatus(refusal, this.#nodeId);
      if (respond === undefined) call.emit("error", status);
      else respond(status);
    };
    return guarded;
  }
}
