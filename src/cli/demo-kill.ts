import { setTimeout as sleep } from "node:timers/promises";
import type { GenerateRequest, StatusDocument } from "../cluster/coordinator/index.ts";
import type { LocalCluster } from "../cluster/local/index.ts";
import { must } from "../common/index.ts";
import { compareRuns, type Verification } from "../engine/index.ts";
import type { CommandContext } from "./command.ts";
import { collectGeneration, type Generation } from "./generation.ts";
import { readRecovery, type Recovery } from "./recovery.ts";
import type { ToldEvents } from "./told-events.ts";
import { hashesOf } from "./verification.ts";

/** A sentence has begun, and is not over, when so much of it is there. */
const SENTENCE_CHARS = 15;
const EVENT_LIMIT_MS = 10_000;
const BACK_LIMIT_MS = 20_000;
const POLL_MS = 20;

/** A generation with the moments at which its tokens came, in ms since the request. */
export interface TimedGeneration {
  readonly generation: Generation;
  readonly tokensMs: readonly number[];
}

/** A story whose worker was killed while it was told. Moments in ms since the request. */
export interface KilledStory {
  readonly worker: string;
  readonly units: string;
  /** Stages before and behind the death, `A:B on NAME`. */
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly killedMs: number;
  /** Tokens that were there when it was killed. */
  readonly killedBehind: number;
  /** Its first token that a stage of the next plan computed; null where the story was over before. */
  readonly resumedMs: number | null;
  /** Null where nobody had to recover. */
  readonly recovery: Recovery | null;
  /** From the kill until the plan of before was in force again; null where that took too long. */
  readonly backMs: number | null;
  readonly story: TimedGeneration;
  readonly equalTokens: number;
  /** Against the run without the fault. */
  readonly verification: Verification;
}

interface Seen {
  text: string;
  killedMs: number | null;
  killedBehind: number;
  resumedMs: number | null;
  after: readonly string[];
}

/** Collects a generation and looks at the clock for each of its tokens. */
export async function collectTimed(
  events: Parameters<typeof collectGeneration>[0],
  onText: (text: string, tokens: number) => void,
): Promise<TimedGeneration> {
  const startMs = performance.now();
  const tokensMs: number[] = [];
  const generation = await collectGeneration(events, (text) => {
    tokensMs.push(performance.now() - startMs);
    onText(text, tokensMs.length);
  });
  return { generation, tokensMs };
}

/**
 * Tells the story of `request` again, kills a worker in the middle of a sentence, and shows the stream go on.
 *
 * @param undisturbed the same request without a fault
 */
export async function tellThroughDeath(
  { out, signal }: CommandContext,
  cluster: LocalCluster,
  told: ToldEvents,
  request: GenerateRequest,
  undisturbed: Generation,
): Promise<KilledStory> {
  const { coordinator } = cluster;
  const before = coordinator.status();
  const victim = chooseVictim(cluster, before);
  const total = undisturbed.tokenIds.length;
  const epoch = before.plan?.epoch ?? 0;
  const startMs = performance.now();
  const seen: Seen = { text: "", killedMs: null, killedBehind: 0, resumedMs: null, after: [] };
  told.clear();
  const story = await collectTimed(coordinator.generate(request, signal), (piece, tokens) => {
    const nowMs = performance.now() - startMs;
    if (seen.killedMs !== null && seen.resumedMs === null && (told.plan?.epoch ?? 0) > epoch) {
      seen.resumedMs = nowMs;
      seen.after = listStages(coordinator.status());
      out.data(` <<${((nowMs - seen.killedMs) / 1000).toFixed(2)} s later, on ${seen.after.join(" and ")}>>`);
    }
    out.data(piece);
    seen.text += piece;
    if (seen.killedMs !== null || !isMoment(seen.text, tokens, total)) return;
    seen.killedMs = nowMs;
    seen.killedBehind = tokens;
    killGroup(victim.pid);
    out.data(` <<${victim.name} is killed>>`);
  });
  out.line("\n");
  const recovery = await told.wait(readRecovery, EVENT_LIMIT_MS, signal);
  const { killedMs, killedBehind, resumedMs, after } = seen;
  const atMs = must(killedMs ?? undefined, "moment of the kill");
  const backMs = await untilBack(cluster, before, signal);
  const { tokenIds, logits } = story.generation;
  return {
    worker: victim.name,
    units: victim.units,
    before: listStages(before),
    after,
    killedMs: atMs,
    killedBehind,
    resumedMs,
    recovery,
    backMs: backMs === null ? null : backMs - startMs - atMs,
    story,
    equalTokens: tokenIds.filter((id, index) => id === undisturbed.tokenIds[index]).length,
    verification: compareRuns(
      { tokenIds, logits, kv: hashesOf(story.generation) },
      { tokenIds: undisturbed.tokenIds, logits: undisturbed.logits, kv: hashesOf(undisturbed) },
    ),
  };
}

/** Holds every token, and where the recovery was exact every bit, to be that of the run without the fault. */
export function isAsUndisturbed({ verification, recovery }: KilledStory): boolean {
  const { identicalTokens, identicalLogits, identicalKv } = verification;
  return identicalTokens && ((identicalLogits && identicalKv) || recovery?.exact === false);
}

interface Victim {
  readonly name: string;
  readonly pid: number;
  readonly units: string;
}

/** Who holds the stage in the middle. */
function chooseVictim(cluster: LocalCluster, { stages, nodes }: StatusDocument): Victim {
  const stage = must(stages[Math.floor(stages.length / 2)], "stage in the middle");
  const node = must(
    nodes.find(({ id }) => id === stage.node),
    "its worker",
  );
  const worker = must(
    cluster.workers.find(({ name }) => name === node.name),
    "process of the worker",
  );
  return { name: node.name, pid: must(worker.pid, "process id"), units: stage.units };
}

/** As a machine goes: supervisor and stage host at once, without a word. */
function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // It has ended by itself.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** From a third on, in the middle of a sentence; at two thirds wherever it is. */
function isMoment(text: string, tokens: number, total: number): boolean {
  if (3 * tokens < total) return false;
  const end = Math.max(...[".", "!", "?", "\n"].map((mark) => text.lastIndexOf(mark)));
  const begun = text.slice(end + 1).trim();
  return begun.length >= SENTENCE_CHARS || 3 * tokens >= 2 * total;
}

function listStages({ stages, nodes }: StatusDocument): readonly string[] {
  return stages.map(({ units, node }) => `${units} on ${nodes.find(({ id }) => id === node)?.name ?? "nobody"}`);
}

/** @returns when the plan of before was in force again, by the monotonic clock; null where that took too long */
async function untilBack(
  { coordinator }: LocalCluster,
  before: StatusDocument,
  signal: AbortSignal,
): Promise<number | null> {
  const wanted = listStages(before).join();
  const endMs = performance.now() + BACK_LIMIT_MS;
  while (performance.now() < endMs) {
    const now = coordinator.status();
    const isSettled = now.plan?.next === null && now.health.status === "ready";
    if (isSettled && listStages(now).join() === wanted) return performance.now();
    await sleep(POLL_MS, undefined, { signal });
  }
  return null;
}
