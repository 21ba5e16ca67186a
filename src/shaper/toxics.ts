/** Which way bytes go: `upstream` from who connected to the target, `downstream` back. */
export type Direction = "upstream" | "downstream";

interface Common {
  /** By which it is removed; unique on its link. */
  readonly name: string;
  /** @default "downstream" */
  readonly direction?: Direction;
  /** Share of the connections that it meets, from 0 to 1. @default 1 */
  readonly toxicity?: number;
}

/**
 * What is wrong with a link. Latency, bandwidth and slicing change when bytes arrive; the others change whether, and
 * which.
 */
export type Toxic = Common &
  (
    | { readonly type: "latency"; readonly latencyMs: number; readonly jitterMs?: number }
    /** The bytes of all connections of the link leave one behind another. */
    | { readonly type: "bandwidth"; readonly bytesPerMs: number }
    /** An end is passed on so much later. */
    | { readonly type: "slow_close"; readonly delayMs: number }
    /** Nothing passes; the connection ends after so long, 0 = never. */
    | { readonly type: "timeout"; readonly timeoutMs: number }
    /** The connection is reset after so long, counted from its start or from when this was added. */
    | { readonly type: "reset_peer"; readonly timeoutMs: number }
    /** Bytes come in pieces of about `averageBytes`, `variationBytes` more or less, and so much apart. */
    | {
        readonly type: "slicer";
        readonly averageBytes: number;
        readonly variationBytes?: number;
        readonly delayMs?: number;
      }
    /** The connection ends when so many bytes have passed. */
    | { readonly type: "limit_data"; readonly bytes: number }
    /** One bit is turned every so many bytes, on average. */
    | { readonly type: "corrupt"; readonly everyBytes: number }
    /** Bytes and ends vanish; the connection stays. */
    | { readonly type: "half_open" }
    /** Connections are taken and never reach the target: those that come while it is there. */
    | { readonly type: "accept_only" }
  );

/** A toxic as it meets the connections of one direction, defaults filled in. */
export type ActiveToxic = Toxic & { readonly direction: Direction; readonly toxicity: number };
