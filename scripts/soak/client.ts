import { setTimeout as sleep } from "node:timers/promises";
import { must } from "../../src/common/index.ts";
import { readStream, readTexts, type Served, type StreamEvent } from "../../test/faults/served.ts";
import type { SoakRequest } from "./requests.ts";

/** How a request ended: whole and right, or what is wrong with it. */
export type Outcome = "right" | "lost" | "doubled" | "changed" | "failed";

export interface Ended {
  readonly outcome: Outcome;
  readonly kind: SoakRequest["kind"];
  /** What is wrong; null where nothing is. */
  readonly words: string | null;
  /** Answers that said "not now". */
  readonly refusals: number;
  /** Times that the connection broke and another one went on. */
  readonly reconnects: number;
  readonly events: number;
  /** The longest time without an event. */
  readonly pauseMs: number;
}

const RETRY_MS = 100;
/** A request that nobody takes for so long has failed. */
const PATIENCE_MS = 120_000;

/**
 * Sends a request and follows it over as many connections as it takes, by name where it has one and from behind its last
 * event otherwise.
 *
 * @param expected its text without faults
 */
export async function follow(
  served: Served,
  { kind, body }: SoakRequest,
  expected: string,
  name: string | null,
): Promise<Ended> {
  const events: StreamEvent[] = [];
  const named = name === null ? {} : { "idempotency-key": name };
  let refusals = 0;
  let connections = 0;
  let lastSignMs = performance.now();
  let pauseMs = 0;
  const see = (): void => {
    const nowMs = performance.now();
    pauseMs = Math.max(pauseMs, nowMs - lastSignMs);
    lastSignMs = nowMs;
  };
  const end = (outcome: Outcome, words: string | null): Ended => ({
    outcome,
    kind,
    words,
    refusals,
    reconnects: Math.max(0, connections - 1),
    events: events.length,
    pauseMs,
  });
  const deadlineMs = performance.now() + PATIENCE_MS;
  while (performance.now() < deadlineMs) {
    const last = events.at(-1);
    const response = await served.post("completions", body, last === undefined ? named : { "last-event-id": last.id });
    if (response === null) {
      await sleep(RETRY_MS);
      continue;
    }
    if (response.status === 503 || response.status === 429) {
      refusals += 1;
      await response.body?.cancel();
      await sleep(RETRY_MS);
      continue;
    }
    if (response.status !== 200) {
      const said = (await response.text().catch(() => "")).slice(0, 300);
      return end(
        response.status === 404 ? "lost" : "failed",
        `behind event ${events.length}: ${response.status} ${said}`,
      );
    }
    connections += 1;
    events.push(...(await readStream(response, see)));
    const failure = events.find(({ data }) => data.startsWith('{"error"'));
    if (failure !== undefined) return end("failed", failure.data.slice(0, 300));
    if (events.at(-1)?.data === "[DONE]") return end(...judge(events, expected));
  }
  return end("lost", `behind event ${events.length}: nobody went on with it for ${PATIENCE_MS / 1000} s`);
}

/** What became of a stream that has come to its end, and what is wrong with it. */
export function judge(events: readonly Pick<StreamEvent, "id" | "data">[], expected: string): [Outcome, string | null] {
  const indices = events.map(({ id }) => Number(id.split(":")[1]));
  const wrong = indices.findIndex((index, place) => index !== place + 1);
  if (wrong >= 0) {
    const index = must(indices[wrong], "index");
    return [index <= wrong ? "doubled" : "lost", `event ${wrong + 1} has the index ${index}`];
  }
  const text = readTexts(events.map((event) => ({ ...event, atMs: 0 }))).join("");
  if (text === expected) return ["right", null];
  let at = 0;
  while (text[at] === expected[at]) at++;
  return ["changed", `"${text.slice(at, at + 40)}" instead of "${expected.slice(at, at + 40)}" at ${at}`];
}
