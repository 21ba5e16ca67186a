import type { Socket } from "node:net";
import { type ChannelCredentials, credentials } from "@grpc/grpc-js";

/**
 * The sockets that the library opens for one client. Closing a client leaves those alone that have calls, or a peer
 * that never spoke (grpc-node #2785): through here they can be cut off.
 */
export class TrackedSockets {
  readonly #sockets = new Set<Socket>();

  /** Plaintext credentials that report every socket made with them. */
  createCredentials(): ChannelCredentials {
    const plain = credentials.createInsecure();
    const createConnector = plain._createSecureConnector.bind(plain);
    plain._createSecureConnector = (...args) => {
      const connector = createConnector(...args);
      const connect = connector.connect.bind(connector);
      connector.connect = (socket) => {
        this.#sockets.add(socket);
        socket.once("close", () => this.#sockets.delete(socket));
        return connect(socket);
      };
      return connector;
    };
    return plain;
  }

  destroy(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}
