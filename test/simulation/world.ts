import { Random } from "../../src/sim/random.ts";
import { SimNetwork } from "./network.ts";
import { VirtualTime } from "./virtual-time.ts";

/** What all parts of a simulation share. All chance comes from the seed. */
export class World {
  readonly seed: number;
  readonly time: VirtualTime;
  readonly network: SimNetwork;
  /** What must not happen and did. */
  readonly violations: string[] = [];
  /** How requests ended. */
  readonly outcomes: string[] = [];
  /** What happened, for a person who replays a seed; null when nobody reads it. */
  readonly log: string[] | null;

  constructor(seed: number, isLogged = false) {
    this.seed = seed;
    this.log = isLogged ? [] : null;
    const random = this.random("language");
    this.time = new VirtualTime(() => random.uniform());
    this.network = new SimNetwork(this.time, this.random("network"));
  }

  /** @param purpose has numbers of its own */
  random(purpose: string): Random {
    return new Random(this.seed, purpose);
  }

  note(text: string): void {
    this.log?.push(`${this.time.nowMs.toFixed(1).padStart(9)}  ${text}`);
  }

  violate(text: string): void {
    this.note(`VIOLATION ${text}`);
    this.violations.push(`at ${this.time.nowMs.toFixed(1)} ms: ${text}`);
  }
}
