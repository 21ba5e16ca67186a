import { NoodleError } from "../../src/common/index.ts";
import { GREEDY } from "../../src/engine/index.ts";
import type { GenerateEvent } from "../../src/cluster/coordinator/index.ts";
import type { SimCoordinator } from "./sim-coordinator.ts";
import type { SimDisk } from "./sim-state.ts";
import type { World } from "./world.ts";

export interface RequestPlan {
  readonly name: string;
  readonly client: string;
  readonly prompt: readonly number[];
  readonly seed: number;
  readonly maxTokens: number;
  readonly deadlineMs: number;
  /** From its start; null = it is not cancelled. */
  readonly cancelAfterMs: number | null;
}

type Done = Extract<GenerateEvent, { type: "done" }>;

export type Outcome =
  | { readonly type: "complete"; readonly done: Done }
  | { readonly type: "cancelled" }
  | { readonly type: "error"; readonly error: NoodleError }
  /** Its coordinator was killed under it. */
  | { readonly type: "severed" };

/** From the deadline to the end that its reader hears of. */
const END_GRACE_MS = 1000;

/** One client's request, and what of its stream has reached the client. */
export class SimRequest {
  readonly plan: RequestPlan;
  readonly tokens: number[] = [];
  outcome: Outcome | null = null;
  sessionId = "";
  readonly #world: World;
  readonly #disk: SimDisk;
  #startMs = 0;
  #cancelledMs: number | null = null;

  constructor(world: World, disk: SimDisk, plan: RequestPlan) {
    this.#world = world;
    this.#disk = disk;
    this.plan = plan;
  }

  get isOver(): boolean {
    return this.outcome !== null;
  }

  start(life: SimCoordinator): void {
    const { time } = this.#world;
    this.#startMs = time.nowMs;
    const { coordinator, process } = life;
    if (coordinator === null) {
      this.#end({ type: "error", error: new NoodleError("PEER_UNREACHABLE", "there is no coordinator") });
      return;
    }
    process.onDeath(() => this.#end({ type: "severed" }));
    const abort = new AbortController();
    const { cancelAfterMs, deadlineMs, name } = this.plan;
    if (cancelAfterMs !== null) {
      time.schedule(cancelAfterMs, process, () => {
        this.#cancelledMs = time.nowMs;
        abort.abort();
      });
    }
    // A process that stands still answers nobody, and hears of its clients when it goes on: the deadline counts from there.
    const check = (): void => {
      if (this.isOver || !process.isAlive) return;
      const leftMs = process.stalledUntilMs + END_GRACE_MS - time.nowMs;
      if (leftMs > 0) time.schedule(leftMs, null, check);
      else
        this.#world.violate(
          `${name} has no end ${time.nowMs - this.#startMs} ms after its start (deadline ${deadlineMs} ms)`,
        );
    };
    time.schedule(0, process, () => {
      time.schedule(deadlineMs + END_GRACE_MS, null, check);
      void this.#read(coordinator.generate(this.#makeRequest(), abort.signal));
    });
  }

  #makeRequest(): Parameters<NonNullable<SimCoordinator["coordinator"]>["generate"]>[0] {
    const { prompt, maxTokens, client, seed, deadlineMs } = this.plan;
    return { prompt, maxTokens, client, deadlineMs, sampling: { ...GREEDY, seed } };
  }

  async #read(events: AsyncIterable<GenerateEvent>): Promise<void> {
    let done: Done | null = null;
    try {
      for await (const event of events) {
        if (event.type === "started") this.sessionId = event.sessionId;
        else if (event.type === "token") this.#takeToken(event.index, event.tokenId);
        else if (event.type === "done") done = event;
      }
    } catch (error) {
      this.#takeError(error);
      return;
    }
    if (done === null) this.#world.violate(`${this.plan.name} ended without its last event`);
    else this.#end({ type: "complete", done });
  }

  #takeToken(index: number, tokenId: number): void {
    if (this.isOver) this.#world.violate(`${this.plan.name} got token ${index} behind its end`);
    if (index !== this.tokens.length)
      this.#world.violate(`${this.plan.name} got token ${index}, the next one is ${this.tokens.length}`);
    this.tokens.push(tokenId);
    if (this.#disk.sessions.get(this.sessionId)?.tokens[index] !== tokenId)
      this.#world.violate(`${this.plan.name} got token ${index}, which is not in the journal`);
  }

  #takeError(thrown: unknown): void {
    const { name } = this.plan;
    if (!(thrown instanceof NoodleError)) {
      this.#world.violate(`${name} ended with an error without a code: ${String(thrown)}`);
    } else if (thrown.code === "INTERNAL" || thrown.code === "ILLEGAL_STATE") {
      this.#world.violate(`${name} ended with ${thrown.code}: ${thrown.message} ${thrown.stack ?? ""}`);
    }
    const error = NoodleError.from(thrown);
    const isCancelled = this.#cancelledMs !== null && error.code === "INTERRUPTED";
    this.#end(isCancelled ? { type: "cancelled" } : { type: "error", error });
  }

  #end(outcome: Outcome): void {
    if (this.outcome !== null) {
      if (outcome.type !== "severed")
        this.#world.violate(`${this.plan.name} ended twice: ${this.outcome.type}, ${outcome.type}`);
      return;
    }
    this.outcome = outcome;
    const why = outcome.type === "error" ? `${outcome.error.code}: ${outcome.error.message}` : "";
    this.#world.note(`${this.plan.name} ends: ${outcome.type} after ${this.tokens.length} tokens ${why}`);
  }
}
