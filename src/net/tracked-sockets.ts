import type { Socket } from "node:net";
import { type ChannelCredentials, credentials } from "@grpc/grpc-js";
import { type ClientSecurity, openClientContext } from "./security.ts";

/**
 * The sockets that the library opens for one client. Closing a client leaves those alone that have calls, or a peer
 * that never spoke (grpc-node #2785): through here they can be cut off.
 */
export class TrackedSockets {
  readonly #sockets = new Set<Socket>();
  #failure: Error | null = null;

  /** What ended the last attempt to trust the peer, or to be trusted by it; null where trust was not the matter. */
  get failure(): Error | null {
    return this.#failure;
  }

  /** Credentials that report every socket made with them. @param security null = plaintext */
  createCredentials(security: ClientSecurity | null): ChannelCredentials {
    const made = security === null ? credentials.createInsecure() : openClientContext(security);
    const createConnector = made._createSecureConnector.bind(made);
    made._createSecureConnector = (...args) => {
      const connector = createConnector(...args);
      const connect = connector.connect.bind(connector);
      connector.connect = async (socket) => {
        this.#sockets.add(socket);
        socket.once("close", () => this.#sockets.delete(socket));
        if (security === null) return connect(socket);
        try {
          const connected = await connect(socket);
          // Until it speaks: a server that does not take this side's certificate hangs up without a word.
          this.#failure = new Error("it hung up behind the handshake, as for a certificate that it does not take");
          // A server says what it thinks of this side's certificate behind the handshake.
          connected.socket.on("error", (error) => this.#note(error));
          return connected;
        } catch (error) {
          this.#note(error);
          throw error;
        }
      };
      return connector;
    };
    return made;
  }

  /** The peer speaks: the two believe each other. */
  trust(): void {
    this.#failure = null;
  }

  destroy(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #note(error: unknown): void {
    if (error instanceof Error && !isOfNetwork(error)) this.#failure = error;
  }
}

/** A connection that was lost says nothing about trust. */
function isOfNetwork(error: NodeJS.ErrnoException): boolean {
  return ["ECONNRESET", "ECONNREFUSED", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH"].includes(error.code ?? "");
}
