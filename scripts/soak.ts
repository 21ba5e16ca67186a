// Random faults under load, for as long as it is told to: `npm run soak -- [--minutes N] [--seed N] [--streams N] [--json]`.
// A coordinator and three workers run as a user starts them; their processes are killed, stopped and started again while
// streams of all kinds run over HTTP. Every stream must come whole, once, and with the text that it has without faults.
// Ends by itself; exit code 1 when something was lost or changed, did not come back, or grew.
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Ended, follow, type Outcome } from "./soak/client.ts";
import { FaultDriver, type SoakStatus } from "./soak/faults.ts";
import { MemoryWatch } from "./soak/memory.ts";
import { makeRequests } from "./soak/requests.ts";
import { must, quantile } from "../src/common/index.ts";
import { makeRandom } from "../src/shaper/index.ts";
import { readStream, readTexts, Served } from "../test/faults/served.ts";

const MODEL = fileURLToPath(new URL("../models/storyteller-q8_0.gguf", import.meta.url));
const REQUESTS = 24;
const WORKERS = 3;
const LOOK_MS = 5000;
const WHOLE_MS = 60_000;
const KEPT_COMPLAINTS = 50;
/** Memory counts as flat below this growth, judged where a process was watched for so long behind its first minutes. */
const MOST_GROWTH_MIB = 16;
const LEAST_MINUTES = 10;
/** Of the time: from here on some processes are left alone, so that their memory is seen over long. */
const QUIET_FROM = 0.4;
/** Every so many requests one has no name: it is followed by the ids of its events alone. */
const UNNAMED_EVERY = 4;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    seed: { type: "string", default: "1" },
    streams: { type: "string", default: "6" },
    json: { type: "boolean", default: false },
  },
});
const [minutes, seed, streams] = [Number(values.minutes), Number(values.seed), Number(values.streams)];
if (!(minutes > 0 && minutes <= 10_000) || !(streams >= 1 && streams <= 64) || !Number.isSafeInteger(seed)) {
  console.error("usage: soak [--minutes N] [--seed N] [--streams 1..64] [--json]");
  process.exit(2);
}

const stop = new AbortController();
process.once("SIGINT", () => stop.abort());
process.once("SIGTERM", () => stop.abort());
const beginMs = performance.now();
const log = (words: string): void =>
  console.error(`[${((performance.now() - beginMs) / 1000).toFixed(1).padStart(7)}s] ${words}`);

const args = ["--journal", "--context", "512", "--determinism", "strict", "--queue", "32", "--queue-per-client", "32"];
await using served = await Served.start({ model: MODEL, workers: WORKERS, args });
const requests = makeRequests(REQUESTS);
log(`${requests.length} requests without faults`);
const expected: string[] = [];
for (const { body } of requests) {
  const response = must((await served.post("completions", body)) ?? undefined, "answer");
  expected.push(readTexts(await readStream(response)).join(""));
}

const memory = new MemoryWatch();
const ended: Ended[] = [];
const complaints: string[] = [];
const startMs = performance.now();
const endMs = startMs + minutes * 60_000;
const faults = new FaultDriver({
  served,
  random: makeRandom(seed, "faults"),
  log,
  onRestart: () => memory.look("coordinator", served.pid),
});
log(`faults and ${streams} streams at once for ${minutes} minutes, seed ${seed}`);
const looking = look();
const clients = Array.from({ length: streams }, (_, index) => runClient(index));
await faults.run(endMs, startMs + QUIET_FROM * minutes * 60_000, stop.signal);
await Promise.all(clients);
const isWhole = await untilWhole();
await looking;

const count = (outcome: Outcome): number => ended.filter((each) => each.outcome === outcome).length;
const pauses = ended.map(({ pauseMs }) => pauseMs);
const processes = memory.summarize();
const judged = processes.filter((figures) => figures.minutes >= LEAST_MINUTES);
const isFlat = judged.length === 0 ? null : judged.every((each) => each.growth_mib <= MOST_GROWTH_MIB);
const summary = {
  schema: "noodle.soak.v1",
  minutes: (performance.now() - startMs) / 60_000,
  seed,
  streams,
  faults: faults.counts,
  requests: {
    sent: ended.length,
    right: count("right"),
    lost: count("lost"),
    doubled: count("doubled"),
    changed: count("changed"),
    failed: count("failed"),
    refusals: sum((each) => each.refusals),
    reconnects: sum((each) => each.reconnects),
    events: sum((each) => each.events),
  },
  longest_pause_ms: {
    p50: pauses.length === 0 ? null : quantile(pauses, 0.5),
    p99: pauses.length === 0 ? null : quantile(pauses, 0.99),
    most: pauses.length === 0 ? null : Math.max(...pauses),
  },
  came_back: isWhole,
  memory: processes,
  memory_flat: isFlat,
  complaints,
  ok: ended.length > 0 && count("right") === ended.length && isWhole && isFlat !== false,
};
if (values.json) console.log(JSON.stringify(summary, null, 2));
else describe();
process.exitCode = summary.ok ? 0 : 1;

async function runClient(client: number): Promise<void> {
  const random = makeRandom(seed, `client ${client}`);
  for (let number = 0; performance.now() < endMs && !stop.signal.aborted; number++) {
    const index = Math.floor(random() * requests.length);
    const name = number % UNNAMED_EVERY === 0 ? null : `soak-${client}-${number}`;
    const one = await follow(served, must(requests[index], "request"), must(expected[index], "text"), name);
    ended.push(one);
    if (one.words === null) continue;
    const words = `${one.outcome}: client ${client}, request ${number} (${one.kind}${name === null ? "" : ", named"}): ${one.words}`;
    log(words);
    if (complaints.length < KEPT_COMPLAINTS) complaints.push(words);
  }
}

/** Memory of all processes, while the soak runs. */
async function look(): Promise<void> {
  while (performance.now() < endMs && !stop.signal.aborted) {
    memory.look("coordinator", served.pid);
    const status = await readStatus();
    for (const { name, pid } of status?.nodes ?? []) memory.look(`worker ${name}`, pid);
    for (const { node, host_pid: pid } of status?.stages ?? []) {
      const name = status?.nodes.find(({ id }) => id === node)?.name;
      if (pid !== null && name !== undefined) memory.look(`engine of ${name}`, pid);
    }
    await sleep(LOOK_MS, undefined, { signal: stop.signal }).catch(() => undefined);
  }
}

/** All workers hold a stage again, and nothing is left of the requests. */
async function untilWhole(): Promise<boolean> {
  const limitMs = performance.now() + WHOLE_MS;
  let last: SoakStatus | null = null;
  while (performance.now() < limitMs) {
    last = await readStatus();
    const isSettled = last !== null && last.plan !== null && last.plan.next === null && last.plan.former === null;
    const ready = last?.stages.filter(({ state }) => state === "ready").length;
    if (isSettled && ready === WORKERS && last?.sessions.length === 0) return true;
    await sleep(200);
  }
  const stages = last?.stages.map(({ units, state }) => `${units} ${state}`).join(", ") ?? "no answer";
  complaints.push(`not whole ${WHOLE_MS / 1000} s behind the end: ${stages}; ${last?.sessions.length ?? "?"} sessions`);
  return false;
}

async function readStatus(): Promise<SoakStatus | null> {
  const response = await served.get("/v1/status");
  if (response?.status !== 200) return null;
  return (await response.json().catch(() => null)) as SoakStatus | null;
}

function sum(pick: (each: Ended) => number): number {
  return ended.reduce((total, each) => total + pick(each), 0);
}

function describe(): void {
  const { requests: got, longest_pause_ms: pause } = summary;
  const made = Object.entries(faults.counts).map(([kind, times]) => `${kind} ${times}`);
  console.log(`${summary.minutes.toFixed(1)} minutes, seed ${seed}: ${made.join(", ")}`);
  console.log(
    `${got.right} of ${got.sent} requests right (${got.lost} lost, ${got.doubled} doubled, ${got.changed} changed, ${got.failed} failed); ${got.reconnects} connections gone on with, ${got.refusals} answers "not now"`,
  );
  const say = (ms: number | null): string => (ms === null ? "-" : ms.toFixed(0));
  console.log(`longest pause of a stream, ms: p50 ${say(pause.p50)}, p99 ${say(pause.p99)}, most ${say(pause.most)}`);
  for (const each of processes) {
    console.log(
      `${each.role}: ${each.first_mib.toFixed(0)} to ${each.last_mib.toFixed(0)} MiB in ${each.minutes.toFixed(1)} min, ${each.growth_mib.toFixed(1)} MiB more in its last third than in its first; handles ${each.first_handles} to ${each.last_handles}`,
    );
  }
  const memoryWords = isFlat === null ? "too short to judge memory" : isFlat ? "memory flat" : "memory grows";
  console.log(`${isWhole ? "whole again" : "NOT WHOLE"}; ${memoryWords}; ${summary.ok ? "nothing lost" : "NOT OK"}`);
  for (const words of complaints) console.log(`  ${words}`);
}
