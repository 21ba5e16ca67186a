import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { once } from "node:events";

/** Who connects: this process, in which the coordinator lives, or another one. */
export type Caller = "coordinator" | "peer";

/**
 * One port for two links: a worker is reached at one address by the coordinator and by the stage before it, and a fault
 * may be on one of these ways alone.
 */
export class Front {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  static async open(portOf: Readonly<Record<Caller, number>>): Promise<Front> {
    const front = new Front(portOf);
    front.#server.listen(0, "127.0.0.1");
    await once(front.#server, "listening");
    return front;
  }

  private constructor(portOf: Readonly<Record<Caller, number>>) {
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
      const port = portOf[findCaller(client)];
      const link = createConnection({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
      this.#join(client, link);
      this.#join(link, client);
    });
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, "close");
  }

  /** Bytes, ends and resets of one side reach the other as they are. */
  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.pipe(to);
    from.on("error", () => to.resetAndDestroy());
    from.on("close", () => {
      this.#sockets.delete(from);
      if (!from.readableEnded) to.destroy();
    });
  }
}

/** By the socket of its other end, which this process has open or has not (Linux). */
function findCaller(client: Socket): Caller {
  const port = (client.remotePort ?? 0).toString(16).toUpperCase().padStart(4, "0");
  const row = readFileSync("/proc/self/net/tcp", "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .find(([, local]) => local?.endsWith(`:${port}`) === true && local.startsWith("0100007F"));
  const name = `socket:[${row?.[9] ?? ""}]`;
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`) === name) return "coordinator";
    } catch {
      // Closed meanwhile.
    }
  }
  return "peer";
}
