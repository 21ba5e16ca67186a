import { createConnection, createServer, type Server, type Socket } from "node:net";
import { once } from "node:events";
import { NoodleError } from "../common/index.ts";
import { type Account, Ledger } from "./account.ts";
import { checkToxic } from "./check-toxic.ts";
import { Connection } from "./connection.ts";
import { makeRandom } from "./seeded-random.ts";
import type { ActiveToxic, Direction, Toxic } from "./toxics.ts";

export interface ShapedLinkOptions {
  /** Where connections go. Its port may be one that nobody listens on yet. */
  readonly targetPort: number;
  /** @default "127.0.0.1" */
  readonly targetHost?: string;
  /** 0 = any free one. @default 0 */
  readonly listenPort?: number;
  /** Of toxicity, jitter, slices and turned bits. @default 1 */
  readonly seed?: number;
  /** Bytes of one direction of a connection that are under way at most. @default 8 MiB */
  readonly maxHeldBytes?: number;
  readonly toxics?: readonly Toxic[];
}

const LOOPBACK = "127.0.0.1";
const MAX_HELD_BYTES = 8 * 2 ** 20;
const MAX_TOXICS = 64;

/**
 * The way to one listener, on loopback: whoever connects to the link's port reaches the target through it, and meets
 * what is wrong with the link. Toxics come and go while it runs; bytes that are under way keep the time that they have.
 */
export class ShapedLink {
  readonly #options: ShapedLinkOptions;
  readonly #server: Server;
  readonly #ledgers = { upstream: new Ledger(), downstream: new Ledger() };
  readonly #busyUntilMs = { upstream: new Map<string, number>(), downstream: new Map<string, number>() };
  readonly #connections = new Set<Connection>();
  /** Taken, and not connected to the target: not yet, or never. */
  readonly #waiting = new Set<Socket>();
  #toxics: readonly ActiveToxic[] = [];
  #accepted = 0;
  #failed = 0;

  /** @throws NoodleError `PORT_IN_USE`, `USAGE` */
  static async open(options: ShapedLinkOptions): Promise<ShapedLink> {
    const link = new ShapedLink(options);
    for (const toxic of options.toxics ?? []) link.add(toxic);
    link.#server.listen(options.listenPort ?? 0, LOOPBACK);
    try {
      await once(link.#server, "listening");
    } catch (error) {
      throw new NoodleError("PORT_IN_USE", `a shaped link can't listen on port ${options.listenPort ?? 0}`, {
        cause: error,
      });
    }
    return link;
  }

  private constructor(options: ShapedLinkOptions) {
    this.#options = options;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
  }

  /** That it listens on. */
  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new NoodleError("ILLEGAL_STATE", "the link is closed");
    return address.port;
  }

  /** Connections that are open, that came, and that did not reach the target. */
  get connections(): { readonly open: number; readonly accepted: number; readonly failed: number } {
    return { open: this.#connections.size, accepted: this.#accepted, failed: this.#failed };
  }

  get toxics(): readonly Toxic[] {
    return this.#toxics;
  }

  /** Of all connections so far. */
  account(direction: Direction): Account {
    return this.#ledgers[direction].read();
  }

  /** @throws NoodleError `USAGE` for a figure out of range, or a name that is taken */
  add(toxic: Toxic): void {
    const checked = checkToxic(toxic);
    if (this.#toxics.some(({ name }) => name === toxic.name))
      throw new NoodleError("USAGE", `the link has a toxic "${toxic.name}" already: remove it first`);
    if (this.#toxics.length >= MAX_TOXICS)
      throw new NoodleError("USAGE", `a link has ${MAX_TOXICS} toxics at most: remove one first`);
    this.#toxics = [...this.#toxics, checked];
    for (const connection of this.#connections) connection.refresh();
  }

  /** @returns false when there is none of that name */
  remove(name: string): boolean {
    const left = this.#toxics.filter((toxic) => toxic.name !== name);
    if (left.length === this.#toxics.length) return false;
    this.#toxics = left;
    for (const ways of Object.values(this.#busyUntilMs)) ways.delete(name);
    for (const connection of this.#connections) connection.refresh();
    return true;
  }

  /** Ends all connections and stops listening. Closing twice is safe. */
  async close(): Promise<void> {
    for (const socket of this.#waiting) socket.destroy();
    for (const connection of this.#connections) connection.cut("now");
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, "close");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #accept(client: Socket): void {
    const { targetHost = LOOPBACK, targetPort, seed = 1, maxHeldBytes = MAX_HELD_BYTES } = this.#options;
    this.#accepted += 1;
    const random = makeRandom(seed, `connection ${this.#accepted}`);
    client.on("error", () => client.destroy());
    client.on("close", () => this.#waiting.delete(client));
    this.#waiting.add(client);
    if (this.#toxics.some(({ type, toxicity }) => type === "accept_only" && random() < toxicity)) {
      this.#failed += 1;
      return;
    }
    client.pause();
    const target = createConnection({ host: targetHost, port: targetPort, allowHalfOpen: true, noDelay: true });
    const giveUp = (): void => {
      this.#failed += 1;
      client.resetAndDestroy();
    };
    target.once("error", giveUp);
    target.once("connect", () => {
      target.off("error", giveUp);
      this.#waiting.delete(client);
      if (client.destroyed || !this.#server.listening) {
        client.destroy();
        target.destroy();
        return;
      }
      const connection: Connection = new Connection({
        client,
        target,
        toxics: () => this.#toxics,
        random,
        ledgers: this.#ledgers,
        busyUntilMs: this.#busyUntilMs,
        maxHeldBytes,
        onEnd: () => this.#connections.delete(connection),
      });
      this.#connections.add(connection);
      client.resume();
    });
  }
}
