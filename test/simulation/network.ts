import type { DescService } from "@bufbuild/protobuf";
import { NoodleError } from "../../src/common/index.ts";
import type { ServiceBinding } from "../../src/net/index.ts";
import type { Random } from "../../src/sim/random.ts";
import type { SimProcess, VirtualTime } from "./virtual-time.ts";

/** One that listens on an address. */
export interface Listener {
  readonly process: SimProcess;
  readonly services: readonly ServiceBinding[];
}

/** Time of a message from machine to machine. */
const LATENCY_MS = { least: 0.2, most: 2 };

/** Which way on a connection: to the one that listens, or back. */
export type Direction = "there" | "back";

/** What a fault does to a frame of a step on its way. */
export type FrameFault = "none" | "duplicate" | "corrupt";

/**
 * One TCP connection: what is sent one way arrives in order, or the connection breaks. What a partition holds back is
 * delivered when it has healed.
 */
export class SimConnection {
  readonly client: SimProcess;
  readonly server: SimProcess;
  /** Called on a side when it learns that the connection is gone. */
  readonly onLost = { there: new Set<() => void>(), back: new Set<() => void>() };
  #isOpen = true;
  readonly #network: SimNetwork;
  readonly #arrivedMs = { there: 0, back: 0 };
  readonly #held: { there: (() => void)[]; back: (() => void)[] } = { there: [], back: [] };

  constructor(network: SimNetwork, client: SimProcess, server: SimProcess) {
    this.#network = network;
    this.client = client;
    this.server = server;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** @param arrive runs on the receiving side */
  send(direction: Direction, arrive: () => void): void {
    if (!this.#isOpen) return;
    this.#deliver(direction, () => {
      if (this.#isOpen) arrive();
    });
  }

  /** Both sides hear of it, as far as they can be reached; what is under way is lost. */
  reset(): void {
    if (!this.#isOpen) return;
    this.vanish();
    for (const direction of ["there", "back"] as const) {
      this.#deliver(direction, () => {
        const listeners = [...this.onLost[direction]];
        this.onLost[direction].clear();
        for (const tell of listeners) tell();
      });
    }
  }

  /** Half-open: what is under way is lost, and nobody hears of it. */
  vanish(): void {
    this.#isOpen = false;
    this.#held.there.length = 0;
    this.#held.back.length = 0;
  }

  /** The way is free again. */
  flush(): void {
    for (const direction of ["there", "back"] as const) {
      const held = this.#held[direction].splice(0);
      for (const arrive of held) this.#deliver(direction, arrive);
    }
  }

  #deliver(direction: Direction, arrive: () => void): void {
    const { time } = this.#network;
    const [from, to] = direction === "there" ? [this.client, this.server] : [this.server, this.client];
    if (!to.isAlive) return;
    const arrivesMs = Math.max(time.nowMs + this.#network.drawLatencyMs(from, to), this.#arrivedMs[direction]);
    this.#arrivedMs[direction] = arrivesMs;
    time.schedule(arrivesMs - time.nowMs, to, () => {
      if (this.#held[direction].length > 0 || this.#network.isBlocked(from, to)) this.#held[direction].push(arrive);
      else arrive();
    });
  }
}

/** Machines, who listens on them, and the ways between them. */
export class SimNetwork {
  readonly time: VirtualTime;
  readonly connections = new Set<SimConnection>();
  /** Draws what becomes of a step's frame. @default nothing */
  drawFrameFault: () => FrameFault = () => "none";
  /** The last step that the coordinator has sent, and where. */
  lastStep: { readonly address: string; readonly bytes: Uint8Array } | null = null;
  /** Told of each call that arrives. @default nobody */
  onCall: (method: string, message: unknown) => void = () => undefined;
  readonly #random: Random;
  readonly #listeners = new Map<string, Listener>();
  /** `from>to` by machine. */
  readonly #blocked = new Set<string>();
  readonly #slow = new Map<string, number>();

  constructor(time: VirtualTime, random: Random) {
    this.time = time;
    this.#random = random;
  }

  listen(address: string, listener: Listener): void {
    this.#listeners.set(address, listener);
    listener.process.onDeath(() => this.close(address, listener.process));
  }

  close(address: string, process: SimProcess): void {
    if (this.#listeners.get(address)?.process === process) this.#listeners.delete(address);
    for (const connection of this.connections) if (connection.server === process) connection.reset();
  }

  findService(address: string, service: DescService): { listener: Listener; binding: ServiceBinding } | null {
    const listener = this.#listeners.get(address);
    const binding = listener?.services.find((each) => each.service.typeName === service.typeName);
    return listener === undefined || binding === undefined ? null : { listener, binding };
  }

  connect(client: SimProcess, address: string): SimConnection {
    const listener = this.#listeners.get(address);
    if (listener === undefined || !listener.process.isAlive) {
      throw new NoodleError("PEER_UNREACHABLE", `${address} refuses the connection`);
    }
    const connection = new SimConnection(this, client, listener.process);
    this.connections.add(connection);
    return connection;
  }

  /** Every connection of the process breaks. */
  forget(process: SimProcess): void {
    for (const connection of this.connections) if (connection.client === process) connection.reset();
  }

  isBlocked(from: SimProcess, to: SimProcess): boolean {
    return this.#blocked.size > 0 && this.#blocked.has(`${from.machine}>${to.machine}`);
  }

  /** Nothing gets from one machine to the other until `heal`. */
  block(from: string, to: string): void {
    this.#blocked.add(`${from}>${to}`);
  }

  heal(from: string, to: string): void {
    this.#blocked.delete(`${from}>${to}`);
    for (const connection of this.connections) connection.flush();
  }

  slowDown(from: string, to: string, byMs: number): void {
    this.#slow.set(`${from}>${to}`, byMs);
  }

  healAll(): void {
    this.#blocked.clear();
    this.#slow.clear();
    this.drawFrameFault = () => "none";
    for (const connection of this.connections) connection.flush();
  }

  drawLatencyMs(from: SimProcess, to: SimProcess): number {
    const { least, most } = LATENCY_MS;
    const slow = this.#slow.size === 0 ? 0 : (this.#slow.get(`${from.machine}>${to.machine}`) ?? 0);
    return least + this.#random.uniform() * (most - least) + slow * this.#random.uniform();
  }

  /** A place in a message. */
  drawIndex(length: number): number {
    return this.#random.integer(0, length - 1);
  }
}
