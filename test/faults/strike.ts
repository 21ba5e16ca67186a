import { must, NoodleError } from "../../src/common/index.ts";
import type { Bed, Told } from "./bed.ts";
import { findNextTokenMs, haveSameKv, haveSameTokens, hear, type Heard, isWhole, type Wanted } from "./streams.ts";
import type { Trial } from "./types.ts";

export interface Strike {
  readonly what: string;
  readonly wanted: readonly Wanted[];
  /** Of a run without a fault, in the order of `wanted`. */
  readonly reference: readonly Heard[];
  /** When it strikes: behind so many tokens of all streams, or so long behind the start of the first of them. */
  readonly when: { readonly tokens: number } | { readonly afterMs: number };
  /** Makes the fault. */
  readonly fault: () => void | Promise<void>;
  /** Further conditions of a good trial: words of what is wrong, or null. */
  readonly check?: (told: readonly Told[], heard: readonly Heard[]) => string | null;
  /** @default 60000 */
  readonly limitMs?: number;
}

const LIMIT_MS = 60_000;
/** Of a trial that says nothing: its note. */
export const ENDED_BEFORE = "the streams ended before the fault";

/** Runs the streams as they are without a fault. */
export function runUndisturbed(bed: Bed, wanted: readonly Wanted[]): Promise<readonly Heard[]> {
  return Promise.all(wanted.map((each) => hear(bed.coordinator, each)));
}

/** Runs the streams, makes the fault, and holds what came against the run without it. */
export async function strike(bed: Bed, options: Strike): Promise<Trial> {
  const { what, wanted, reference, when, fault, check, limitMs = LIMIT_MS } = options;
  const toldBefore = bed.told.length;
  let faultMs: number | null = null;
  let pending: Promise<void> = Promise.resolve();
  let failure: string | null = null;
  const make = (): void => {
    if (faultMs !== null) return;
    faultMs = performance.now();
    pending = (async () => fault())().catch((thrown: unknown) => {
      failure = `the fault could not be made: ${NoodleError.from(thrown).message}`;
    });
  };
  let tokens = 0;
  const onEvent = (type: "started" | "token"): void => {
    if ("tokens" in when && type === "token" && ++tokens === when.tokens) make();
    if ("afterMs" in when && type === "started") timers.push(setTimeout(make, when.afterMs));
  };
  const timers: NodeJS.Timeout[] = [];
  const limit = AbortSignal.timeout(limitMs);
  const heard = await Promise.all(wanted.map((each) => hear(bed.coordinator, each, onEvent, limit)));
  timers.forEach(clearTimeout);
  await pending;
  const told = bed.told.slice(toldBefore);
  const complaints = [failure, check?.(told, heard) ?? null];
  if (faultMs === null) complaints.push(ENDED_BEFORE);
  return judge({ what, wanted, reference, heard, told, faultMs: faultMs ?? performance.now(), complaints });
}

interface Outcome {
  readonly what: string;
  readonly wanted: readonly Wanted[];
  readonly reference: readonly Heard[];
  readonly heard: readonly Heard[];
  readonly told: readonly Told[];
  readonly faultMs: number;
  readonly complaints: readonly (string | null)[];
}

function judge({ what, reference, heard, told, faultMs, complaints }: Outcome): Trial {
  const pairs = heard
    .map((each, index) => ({ each, alone: must(reference[index], "undisturbed run") }))
    .filter(({ each, alone }) => !wasOver(each, alone, faultMs));
  const wrong = complaints.filter((complaint) => complaint !== null);
  if (pairs.length === 0) wrong.push(ENDED_BEFORE);
  for (const { each, alone } of pairs) {
    if (alone.error !== null) wrong.push(`${each.name} alone: ${alone.error.code}`);
    if (each.error !== null) wrong.push(`${each.name}: ${each.error.code}: ${each.error.message}`);
    if (!isWhole(each)) wrong.push(`${each.name}: tokens lost or doubled`);
  }
  const sameTokens = pairs.filter(({ each, alone }) => haveSameTokens(each, alone)).length;
  const sameKv = pairs.filter(({ each, alone }) => haveSameKv(each, alone)).length;
  const next = heard.map((each) => findNextTokenMs(each, faultMs)).filter((ms) => ms !== null);
  return {
    what,
    ...readTimes(told, faultMs),
    nextTokenMs: next.length === 0 ? null : Math.max(...next),
    streams: pairs.length,
    sameTokens,
    sameKv,
    isGood: wrong.length === 0 && sameTokens === pairs.length && sameKv === pairs.length,
    note: wrong.length === 0 ? null : [...new Set(wrong)].join("; ").slice(0, 400),
  };
}

/** Its last token was there before the fault: what became of its stages is not its matter. */
function wasOver({ tokens, timesMs }: Heard, alone: Heard, faultMs: number): boolean {
  return tokens.length === alone.tokens.length && (timesMs.at(-1) ?? faultMs) < faultMs;
}

const SIGNS = new Set(["worker.lost", "stage.restarting", "stage.failed", "plan.broken"]);

/** What the coordinator said of a fault, and when. */
export function readTimes(told: readonly Told[], faultMs: number): Pick<Trial, "cause" | "detectMs" | "replanMs"> {
  const since = told.filter(({ atMs }) => atMs >= faultMs);
  const sign = since.find(({ event }) => event !== undefined && SIGNS.has(event.name));
  const done = since.find(({ event }) => event?.name === "recovery.done");
  const cause = done?.event?.details["cause"] ?? sign?.event?.details["code"];
  const replanMs = done?.event?.details["replan_ms"];
  // The recovery counts from when the coordinator knew; its beginning lies before the end by its last step.
  const lastMs = done?.event?.details["last_token_ms"] ?? replanMs;
  const beganMs = done === undefined || typeof lastMs !== "number" ? null : done.atMs - lastMs - faultMs;
  const signMs = sign === undefined ? null : sign.atMs - faultMs;
  const detectMs = beganMs === null ? signMs : Math.min(signMs ?? beganMs, beganMs);
  return {
    cause: typeof cause === "string" ? cause.toLowerCase() : null,
    detectMs: detectMs === null ? null : Math.max(0, detectMs),
    replanMs: beganMs === null || typeof replanMs !== "number" ? null : Math.max(0, beganMs + replanMs),
  };
}

export function countRecoveries(told: readonly Told[]): number {
  return told.filter(({ event }) => event?.name === "recovery.done").length;
}
