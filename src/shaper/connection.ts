import type { Socket } from "node:net";
import type { Ledger } from "./account.ts";
import { Flow } from "./flow.ts";
import type { ActiveToxic, Direction } from "./toxics.ts";

export interface ConnectionOptions {
  /** Who connected, and the target; both may be half open. */
  readonly client: Socket;
  readonly target: Socket;
  /** Of the link, now. */
  readonly toxics: () => readonly ActiveToxic[];
  readonly random: () => number;
  readonly ledgers: Readonly<Record<Direction, Ledger>>;
  readonly busyUntilMs: Readonly<Record<Direction, Map<string, number>>>;
  readonly maxHeldBytes: number;
  readonly onEnd: () => void;
}

/** A connection through a link, both ways. */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #flows: readonly Flow[];
  /** Whether a toxic meets this connection; drawn once. */
  readonly #drawn = new Map<string, boolean>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #isOver = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const { client, target } = options;
    this.#flows = [this.#flow("upstream", client, target), this.#flow("downstream", target, client)];
    let open = 2;
    for (const socket of [client, target]) {
      // The other end of a connection that broke hears of it as it was.
      socket.on("error", () => this.cut("reset"));
      socket.on("close", () => {
        open -= 1;
        if (open === 0) this.cut("close");
      });
    }
    this.refresh();
  }

  /** The link's toxics have changed. */
  refresh(): void {
    const names = new Set(this.#options.toxics().map(({ name }) => name));
    for (const [name, timer] of this.#timers) {
      if (names.has(name)) continue;
      clearTimeout(timer);
      this.#timers.delete(name);
    }
    for (const name of this.#drawn.keys()) if (!names.has(name)) this.#drawn.delete(name);
    for (const toxic of this.#options.toxics()) {
      if (this.#timers.has(toxic.name) || !this.#meets(toxic)) continue;
      if (toxic.type === "reset_peer") this.#cutLater(toxic.name, toxic.timeoutMs, "reset");
      else if (toxic.type === "timeout" && toxic.timeoutMs > 0) this.#cutLater(toxic.name, toxic.timeoutMs, "close");
    }
  }

  /** Ends both sides at once; what is under way is lost. `close` lets go what was written before. */
  cut(how: "close" | "reset" | "now"): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    for (const flow of this.#flows) flow.stop();
    const { client, target, onEnd } = this.#options;
    for (const socket of [client, target]) {
      if (how === "reset") socket.resetAndDestroy();
      else if (how === "close") socket.destroySoon();
      else socket.destroy();
    }
    onEnd();
  }

  #flow(direction: Direction, source: Socket, sink: Socket): Flow {
    const { toxics, ledgers, random, busyUntilMs, maxHeldBytes } = this.#options;
    return new Flow({
      source,
      sink,
      toxics: () => toxics().filter((toxic) => toxic.direction === direction && this.#meets(toxic)),
      ledger: ledgers[direction],
      random,
      busyUntilMs: busyUntilMs[direction],
      maxHeldBytes,
      cut: (how) => this.cut(how),
    });
  }

  #meets({ name, toxicity }: ActiveToxic): boolean {
    const known = this.#drawn.get(name);
    if (known !== undefined) return known;
    const drawn = toxicity >= 1 || this.#options.random() < toxicity;
    this.#drawn.set(name, drawn);
    return drawn;
  }

  #cutLater(name: string, timeoutMs: number, how: "close" | "reset"): void {
    this.#timers.set(
      name,
      setTimeout(() => this.cut(how), timeoutMs),
    );
  }
}
