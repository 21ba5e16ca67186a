import { NoodleError } from "../../common/index.ts";
import type { RowLogprobs, SampledToken } from "../../engine/index.ts";
import type { SessionPosition } from "./step-rules.ts";

export const DEFAULT_LEASE_MS = 60_000;

/** What a stage answered to a session's last step, kept for a resend of that step. */
export interface KeptReply {
  /** f32[rows, nEmbd] of the session's run; null at the last stage. */
  readonly hidden: Float32Array | null;
  readonly sampled: Omit<SampledToken, "run"> | null;
  readonly logprobs: readonly Omit<RowLogprobs, "run">[];
}

export interface Session {
  /** Hex of the 128-bit id. */
  readonly id: string;
  readonly slot: number;
  readonly leaseMs: number;
  readonly wantLogits: boolean;
  position: SessionPosition;
  kept: KeptReply | undefined;
  /** Its end has been asked for and waits behind its steps. */
  isClosing: boolean;
  /** Monotonic time of the last step or call. */
  lastHeardMs: number;
}

export interface CreateSessionArgs {
  readonly id: string;
  readonly fence: number;
  readonly slot: number;
  /** Positions that it starts with. */
  readonly tokens: number;
  /** 0 = the default. */
  readonly leaseMs: number;
  readonly wantLogits: boolean;
}

/** The sessions of one stage; each owns a KV slot. Takes no clock: callers pass the monotonic time. */
export class SessionTable {
  readonly #byId = new Map<string, Session>();

  get size(): number {
    return this.#byId.size;
  }

  /**
   * Opens a session, or finds it again: the same fence changes nothing, a higher fence takes it over.
   *
   * @returns `created` when the caller must open the engine's slot
   * @throws STALE_EPOCH for a lower fence, SESSION_LIMIT when another session holds the slot
   */
  create(args: CreateSessionArgs, nowMs: number): { readonly session: Session; readonly created: boolean } {
    const existing = this.#byId.get(args.id);
    if (existing !== undefined) {
      const have = existing.position.fence;
      if (args.fence < have) {
        throw new NoodleError("STALE_EPOCH", `session ${args.id}: fence ${args.fence}, the stage is at ${have}`, {
          details: { haveFence: have },
        });
      }
      if (args.fence > have) {
        existing.position = { fence: args.fence, branch: 0, nextPosition: existing.position.nextPosition };
        existing.kept = undefined;
      }
      existing.lastHeardMs = nowMs;
      return { session: existing, created: false };
    }
    for (const other of this.#byId.values()) {
      if (other.slot === args.slot) {
        throw new NoodleError("SESSION_LIMIT", `slot ${args.slot} is held by session ${other.id}`, {
          details: { slot: args.slot, heldBy: other.id },
        });
      }
    }
    const session: Session = {
      id: args.id,
      slot: args.slot,
      leaseMs: args.leaseMs === 0 ? DEFAULT_LEASE_MS : args.leaseMs,
      wantLogits: args.wantLogits,
      position: { fence: args.fence, branch: 0, nextPosition: args.tokens },
      kept: undefined,
      isClosing: false,
      lastHeardMs: nowMs,
    };
    this.#byId.set(session.id, session);
    return { session, created: true };
  }

  find(id: string): Session | undefined {
    return this.#byId.get(id);
  }

  /** @throws SESSION_NOT_FOUND */
  get(id: string): Session {
    const session = this.#byId.get(id);
    if (session === undefined) {
      throw new NoodleError("SESSION_NOT_FOUND", `no session ${id} on this stage`, { details: { sessionId: id } });
    }
    return session;
  }

  /** Forgets the session; the caller closes its slot. */
  remove(id: string): Session | undefined {
    const session = this.#byId.get(id);
    this.#byId.delete(id);
    return session;
  }

  /** Removes and returns the sessions that were silent for longer than their lease. */
  removeExpired(nowMs: number): readonly Session[] {
    const expired = [...this.#byId.values()].filter(
      ({ lastHeardMs, leaseMs, isClosing }) => !isClosing && nowMs - lastHeardMs > leaseMs,
    );
    for (const { id } of expired) this.#byId.delete(id);
    return expired;
  }

  removeAll(): readonly Session[] {
    const all = [...this.#byId.values()];
    this.#byId.clear();
    return all;
  }
}
