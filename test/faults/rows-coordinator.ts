import { once } from "node:events";
import { createConnection } from "node:net";
import { describe } from "./rows-deaths.ts";
import { Served } from "./served.ts";
import { findPause, judgeTalks, makeTalks, talk, talkOn } from "./talks.ts";
import type { FaultRow, Lab, Trial } from "./types.ts";

const TOKENS = 80;
const ARGS = ["--journal", "--context", "256", "--determinism", "strict"];
const MOST_FREED_MS = 1000;

/** 13, 14, 16, 27: what clients of the API see. */
export const COORDINATOR: readonly FaultRow[] = [
  {
    row: 13,
    fault: "the coordinator dies, also while a plan changes",
    how: "SIGKILL of `noodle coordinator --journal` and a new start, at random moments of five streams and behind `noodle repartition --drain`",
    expected: "API back within 2 s, clients go on with the very next event, the plan is the old or the new one",
    run: killCoordinator,
  },
  {
    row: 14,
    fault: "two coordinators on one state",
    how: "a second `noodle coordinator` on the same state while streams run, then the first one again",
    expected: "the one with the lower term ends with STATE_TAKEN and changes nothing; streams go on with the last one",
    run: rivalCoordinators,
  },
  {
    row: 16,
    fault: "a client vanishes; a client reads one byte a second",
    how: "its connection is reset; its socket is read slowly while others run",
    expected: "its slot is free within 1 s; others are not held up",
    run: badClients,
  },
  {
    row: 27,
    fault: "grammar, sampled, n = 2 and stop text under deaths",
    how: "SIGKILL and SIGSTOP of workers under streams of the HTTP API",
    expected: "every answer as without the fault",
    run: killUnderTalks,
  },
];

async function killCoordinator(lab: Lab): Promise<readonly Trial[]> {
  await using served = await Served.start({ model: lab.model, args: ARGS });
  const talks = makeTalks(TOKENS);
  const startMs = performance.now();
  const alone = await Promise.all(talks.map((each) => talk(served, each)));
  const tookMs = performance.now() - startMs;
  const trials: Trial[] = [];
  for (let kill = 0; kill < 8; kill++) {
    const drains = kill >= 5;
    const firsts = talks.map((each) => talk(served, each));
    await sleep(tookMs * (0.1 + 0.5 * lab.random()));
    const draining = drains ? served.run(["repartition", "--coordinator", served.grpcAddress, "--drain", "w3"]) : null;
    // The command itself takes some time to start; what it asks for takes some more.
    if (drains) await sleep(300 + 500 * lab.random());
    const faultMs = performance.now();
    await served.killCoordinator();
    const heard = await Promise.all(firsts);
    served.startCoordinator();
    // A new start waits for all its workers, also for one that has left.
    const reviving = setInterval(() => served.reviveWorkers(), 500);
    await served.until("the API is back", 30_000, () => served.get("/live"));
    const backMs = performance.now() - faultMs;
    const wholes = await Promise.all(talks.map((each, index) => talkOn(served, each, heard[index] ?? [])));
    await draining;
    await served.untilReady();
    clearInterval(reviving);
    const what = drains ? `${Math.round(kill - 4)}. while a plan changes` : `${kill + 1}. in the middle of streams`;
    const times = { cause: null, detectMs: null, replanMs: backMs, nextTokenMs: findPause(wholes, faultMs) };
    const late = backMs > 2000 ? `API back after ${Math.round(backMs)} ms` : null;
    trials.push(judgeTalks(what, talks, wholes, alone, times, [late]));
    lab.log(describe(trials));
  }
  return trials;
}

async function rivalCoordinators(lab: Lab): Promise<readonly Trial[]> {
  await using served = await Served.start({ model: lab.model, args: ARGS });
  const talks = makeTalks(TOKENS);
  const alone = await Promise.all(talks.map((each) => talk(served, each)));
  let seen = 0;
  let begin: () => void = () => undefined;
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const firsts = talks.map((each) =>
    talk(served, each, () => {
      seen += 1;
      if (seen === 40) begin();
    }),
  );
  await begun;
  const faultMs = performance.now();
  const rival = served.startRival();
  await served.until("the first one ends", 30_000, async () => (served.isRunning ? null : true));
  const endedMs = performance.now() - faultMs;
  const heard = await Promise.all(firsts);
  const isTaken = served.said.includes("STATE_TAKEN");
  // The workers know the first one's address alone: it takes the state back.
  served.startCoordinator();
  const rivalEnd = rival.exitCode === null ? once(rival, "exit") : null;
  const wholes = await Promise.all(talks.map((each, index) => talkOn(served, each, heard[index] ?? [])));
  await rivalEnd;
  const complaints = [
    isTaken ? null : "the first one does not say STATE_TAKEN",
    rival.exitCode === 1 ? null : `the second one ended with ${rival.exitCode}`,
  ];
  const times = { cause: "state_taken", detectMs: endedMs, replanMs: null, nextTokenMs: findPause(wholes, faultMs) };
  const trial = judgeTalks("a second one, and the first one again", talks, wholes, alone, times, complaints);
  lab.log(describe([trial]));
  return [trial];
}

async function badClients(lab: Lab): Promise<readonly Trial[]> {
  await using served = await Served.start({ model: lab.model, args: ["--context", "512", "--determinism", "strict"] });
  const trials: Trial[] = [];
  const talks = makeTalks(TOKENS).slice(0, 2);
  const alone = await Promise.all(talks.map((each) => talk(served, each)));
  const countSessions = async (): Promise<number> => (await served.status())?.sessions.length ?? -1;
  for (let round = 0; round < 3; round++) {
    const vanishing = new AbortController();
    const body = { prompt: "Once", max_tokens: 480, stream: true, ignore_eos: true };
    const response = await served.post("completions", body, {}, vanishing.signal);
    await response?.body?.getReader().read();
    await served.until("it runs", 5000, async () => ((await countSessions()) > 0 ? true : null));
    const faultMs = performance.now();
    vanishing.abort();
    await served.until("its slot is free", 20_000, async () => ((await countSessions()) === 0 ? true : null));
    const freedMs = performance.now() - faultMs;
    const heard = await Promise.all(talks.map((each) => talk(served, each)));
    const complaint = freedMs > MOST_FREED_MS ? `slot free after ${Math.round(freedMs)} ms` : null;
    const times = { cause: null, detectMs: freedMs, replanMs: null, nextTokenMs: null };
    trials.push(judgeTalks(`vanishes, ${round + 1}.`, talks, heard, alone, times, [complaint]));
    lab.log(describe(trials));
  }
  const before = (await served.status())?.coordinator.rss_bytes ?? 0;
  const { port, hostname } = new URL(served.url);
  const slow = createConnection({ port: Number(port), host: hostname });
  slow.on("error", () => undefined);
  const body = JSON.stringify({ prompt: "Once", max_tokens: 480, stream: true, ignore_eos: true });
  slow.pause();
  slow.write(
    `POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  const timer = setInterval(() => slow.read(1), 1000);
  const startMs = performance.now();
  const heard = await Promise.all(talks.map((each) => talk(served, each)));
  const tookMs = performance.now() - startMs;
  clearInterval(timer);
  slow.destroy();
  const after = (await served.status())?.coordinator.rss_bytes ?? 0;
  const grownBytes = after - before;
  const complaint = grownBytes > 64 * 2 ** 20 ? `memory grew by ${Math.round(grownBytes / 2 ** 20)} MiB` : null;
  const times = { cause: null, detectMs: null, replanMs: null, nextTokenMs: null };
  const what = `reads a byte a second, others took ${Math.round(tookMs)} ms`;
  trials.push(judgeTalks(what, talks, heard, alone, times, [complaint]));
  lab.log(describe(trials));
  return trials;
}

async function killUnderTalks(lab: Lab): Promise<readonly Trial[]> {
  await using served = await Served.start({ model: lab.model, args: ARGS });
  const talks = makeTalks(TOKENS);
  const startMs = performance.now();
  const alone = await Promise.all(talks.map((each) => talk(served, each)));
  const tookMs = performance.now() - startMs;
  const trials: Trial[] = [];
  for (let round = 0; round < 6; round++) {
    const worker = served.workers[round % 3];
    const freezes = round >= 4;
    const running = talks.map((each) => talk(served, each));
    await sleep(tookMs * (0.05 + 0.7 * lab.random()));
    const faultMs = performance.now();
    worker?.signal(freezes ? "SIGSTOP" : "SIGKILL");
    if (freezes) {
      await sleep(5000);
      worker?.signal("SIGCONT");
    }
    const heard = await Promise.all(running);
    const times = { cause: null, detectMs: null, replanMs: null, nextTokenMs: findPause(heard, faultMs) };
    const what = `worker ${(round % 3) + 1} ${freezes ? "stands still for 5 s" : "dies"}`;
    trials.push(judgeTalks(what, talks, heard, alone, times));
    lab.log(describe(trials));
    served.reviveWorkers();
    await served.until("three stages", 60_000, async () => {
      const status = await served.status();
      const isWhole = status?.stages.length === 3 && status.stages.every(({ state }) => state === "ready");
      return isWhole && status.health.status === "ready" ? true : null;
    });
  }
  return trials;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
