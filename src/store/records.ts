/** A plan as it is committed before any worker hears of it. */
export interface PlanRow {
  readonly epoch: number;
  /** SHA-256 of the model, in hex. */
  readonly model: string;
  /** In order; null where nobody holds it. */
  readonly stages: readonly { readonly units: string; readonly nodeId: string | null }[];
}

/** A request that was accepted, as it must be known to go on with it. */
export interface SessionRow {
  readonly sessionId: string;
  /** A hash of the client's key; "" where there are no keys. */
  readonly client: string;
  /** Limits, sampling parameters with their seed, and whatever else the text depends on: JSON. */
  readonly request: Readonly<Record<string, unknown>>;
  readonly promptTokenIds: readonly number[];
  /** By the clock on the wall, since 1970; null = none. */
  readonly deadlineMs: number | null;
}

/** A session as the journal has it. */
export interface OpenSession extends SessionRow {
  /** Term of the coordinator that served it. */
  readonly term: number;
  readonly openedMs: number;
  /** Generated ones, in order. */
  readonly tokenIds: readonly number[];
  /** What `appendTokens` was given, one for each of its calls. */
  readonly notes: readonly (string | null)[];
  /** How it ended; null where that was never written. */
  readonly outcome: string | null;
}

/** Something that happened, as it is kept. */
export interface EventRow {
  readonly name: string;
  readonly severity: "info" | "warning" | "error";
  readonly nodeId: string | null;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** One write of the journal. */
export type JournalTask =
  | { readonly type: "open"; readonly nowMs: number; readonly session: SessionRow }
  | {
      readonly type: "append";
      readonly sessionId: string;
      /** Position in the session of the first of them, the prompt counted. */
      readonly fromPosition: number;
      readonly tokens: readonly number[];
      readonly notes: string | null;
    }
  | {
      readonly type: "close";
      readonly nowMs: number;
      readonly sessionId: string;
      readonly outcome: string;
      readonly keepMs: number;
    }
  | { readonly type: "event"; readonly nowMs: number; readonly event: EventRow }
  | { readonly type: "claimReply"; readonly nowMs: number; readonly key: ReplyKey; readonly keepMs: number }
  | { readonly type: "keepReply"; readonly key: ReplyKey; readonly reply: string | null };

/** Which request of a client a kept reply belongs to. */
export interface ReplyKey {
  readonly client: string;
  /** What the client calls the request. */
  readonly key: string;
  /** Of the request's body, in hex. */
  readonly bodySha256: string;
}

/** What a task comes to: null for most; of `claimReply` what there is already. */
export type JournalValue = null | ClaimedReply;

export type ClaimedReply =
  /** The key is new: the caller makes the reply. */
  | { readonly state: "claimed" }
  /** The same request runs just now. */
  | { readonly state: "running" }
  | { readonly state: "kept"; readonly reply: string };
