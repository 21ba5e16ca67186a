import type { EventRecord } from "../observe/index.ts";
import { countNoun } from "./quantities.ts";

/** What `recovery.done` tells. Times in milliseconds; all but `detectMs` count from the detection. */
export interface Recovery {
  /** Id of the node whose loss it was; null where it was none's. */
  readonly nodeId: string | null;
  readonly cause: string;
  readonly epoch: number;
  readonly sessions: number;
  readonly resumed: number;
  readonly tokensRefilled: number;
  /** Everything was computed again in the class that it had. */
  readonly exact: boolean;
  /** From the last sign of the stages to the detection; null where nothing was under way. */
  readonly detectMs: number | null;
  /** Until the stages of the next plan could take steps. */
  readonly replanMs: number | null;
  /** From there until the last session was filled in. */
  readonly refillMs: number | null;
  /** Until the last session's next token. */
  readonly lastTokenMs: number | null;
}

/** @returns null for every other event */
export function readRecovery({ name, nodeId, details }: EventRecord): Recovery | null {
  if (name !== "recovery.done") return null;
  const read = (key: string): number | null => {
    const value = details[key];
    return typeof value === "number" && Number.isFinite(value) ? value : null;
  };
  const { cause, exact } = details;
  return {
    nodeId,
    cause: typeof cause === "string" ? cause : "unknown",
    epoch: read("epoch") ?? 0,
    sessions: read("sessions") ?? 0,
    resumed: read("resumed") ?? 0,
    tokensRefilled: read("tokens_refilled") ?? 0,
    exact: exact === true,
    detectMs: read("detect_ms"),
    replanMs: read("replan_ms"),
    refillMs: read("refill_ms"),
    lastTokenMs: read("last_token_ms"),
  };
}

/** Behind the refill, until the last session's next token. */
export function nextTokenMs({ replanMs, refillMs, lastTokenMs }: Recovery): number | null {
  if (replanMs === null || refillMs === null || lastTokenMs === null) return null;
  return Math.max(0, lastTokenMs - replanMs - refillMs);
}

/** A sentence. @param name of the worker that was lost; null where that is not known */
export function describeRecovery(recovery: Recovery, name: string | null): string {
  const { cause, sessions, resumed, tokensRefilled, exact, detectMs, replanMs, refillMs, lastTokenMs } = recovery;
  const why = name === null ? cause : `${name}, ${cause}`;
  if (sessions === 0)
    return `plan ${recovery.epoch} serves ${replanMs ?? 0} ms after a loss (${why}); nothing was running`;
  if (lastTokenMs === null) {
    return `plan ${recovery.epoch} serves ${replanMs ?? 0} ms after a loss (${why}); none of ${countNoun(sessions, "stream")} was left to go on`;
  }
  const found = detectMs === null ? "" : `found ${detectMs} ms behind the last sign of life, `;
  const filled = `${countNoun(tokensRefilled, "token")} computed again in ${refillMs ?? 0} ms`;
  const doubt = exact ? "" : "; their bits may differ from those of a run without it";
  const nextMs = nextTokenMs(recovery) ?? 0;
  const next = nextMs === 0 ? "" : `, next token ${nextMs} ms behind that`;
  return `${resumed} of ${countNoun(sessions, "stream")} ${sessions === 1 ? "goes" : "go"} on after ${(detectMs ?? 0) + lastTokenMs} ms (${why}): ${found}new plan ready ${replanMs ?? 0} ms later, ${filled}${next}${doubt}`;
}
