import { Bed } from "./bed.ts";
import { makeWanted, type Wanted } from "./streams.ts";
import { countRecoveries, runUndisturbed, strike } from "./strike.ts";
import type { FaultRow, Lab, Trial } from "./types.ts";

const TOKENS = 90;
const LONG = "The little dog went to the park and saw a big red ball. ".repeat(10);

/** 1, 2, 4: workers and engines that die. */
export const DEATHS: readonly FaultRow[] = [
  {
    row: 1,
    fault: "a worker dies",
    how: "SIGKILL of supervisor and stage host: idle, in prefill, between tokens, in decode, each of three stages",
    expected: "one recovery, every stream goes on, same tokens and KV",
    run: killWorkers,
  },
  {
    row: 2,
    fault: "an engine aborts",
    how: "SIGABRT to the stage host of each stage",
    expected: "the worker stays registered and starts its engine again; otherwise as 1",
    run: abortEngines,
  },
  {
    row: 4,
    fault: "two of three workers die; all die, and come back",
    how: "SIGKILL at once; the third case starts them again after 2 s, the fourth never",
    expected: "units are spread over who is left; all gone: streams wait and go on, or end with a typed error in time",
    run: killMany,
  },
];

async function killWorkers(lab: Lab): Promise<readonly Trial[]> {
  await using bed = await Bed.start({ model: lab.model });
  const wanted = makeWanted(TOKENS);
  const reading = makeWanted(24, [LONG, `${LONG}A`, `${LONG}B`]);
  const alone = await runUndisturbed(bed, wanted);
  const readingAlone = await runUndisturbed(bed, reading);
  const trials: Trial[] = [];
  const once = (told: Parameters<typeof countRecoveries>[0]): string | null =>
    countRecoveries(told) === 1 ? null : `${countRecoveries(told)} recoveries counted`;
  for (let point = 0; point < 20; point++) {
    const stage = point % 3;
    const kind = (["in decode", "between tokens", "in prefill", "in decode", "idle"] as const)[point % 5] ?? "idle";
    const kill = (): void => bed.worker(bed.holderOf(stage)).signal("SIGKILL");
    const what = `${kind}, stage ${stage}`;
    if (kind === "idle") trials.push(await killIdle(bed, what, kill, wanted, alone));
    else if (kind === "in prefill") {
      // Some milliseconds into the prompt, other ones each time.
      const when = { afterMs: 1 + 12 * lab.random() };
      trials.push(
        await strike(bed, { what, wanted: reading, reference: readingAlone, when, fault: kill, check: once }),
      );
    } else {
      const when = { tokens: 10 + Math.floor(200 * lab.random()) };
      const delayMs = kind === "in decode" ? 1 + 10 * lab.random() : 0;
      const fault = async (): Promise<void> => {
        if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
        kill();
      };
      trials.push(await strike(bed, { what, wanted, reference: alone, when, fault, check: once }));
    }
    lab.log(describe(trials));
    await bed.revive(false);
    await bed.untilWhole();
  }
  return trials;
}

/** Nothing runs when the worker dies; what comes then finds the others. */
async function killIdle(
  bed: Bed,
  what: string,
  kill: () => void,
  wanted: readonly Wanted[],
  reference: Awaited<ReturnType<typeof runUndisturbed>>,
): Promise<Trial> {
  const toldBefore = bed.told.length;
  const startMs = performance.now();
  kill();
  await bed.until("the loss is known", 10_000, () =>
    bed.told.slice(toldBefore).some(({ event }) => event?.name === "worker.lost"),
  );
  const lostMs = bed.told.slice(toldBefore).find(({ event }) => event?.name === "worker.lost")?.atMs ?? startMs;
  await bed.until("steps can run again", 20_000, () => bed.coordinator.status().health.status === "ready");
  const readyMs = performance.now();
  const trial = await strike(bed, { what, wanted, reference, when: { tokens: 1 }, fault: () => undefined });
  return { ...trial, cause: "peer_dead", detectMs: lostMs - startMs, replanMs: readyMs - startMs, nextTokenMs: null };
}

async function abortEngines(lab: Lab): Promise<readonly Trial[]> {
  await using bed = await Bed.start({ model: lab.model });
  const wanted = makeWanted(TOKENS);
  const reference = await runUndisturbed(bed, wanted);
  const trials: Trial[] = [];
  for (let point = 0; point < 6; point++) {
    const stage = point % 3;
    const worker = bed.holderOf(stage);
    const pid = bed.hostOf(worker);
    const trial = await strike(bed, {
      what: `stage ${stage}`,
      wanted,
      reference,
      when: { tokens: 20 + Math.floor(180 * lab.random()) },
      fault: () => bed.worker(worker).signal("SIGABRT", pid),
      check: (told) => (told.some(({ event }) => event?.name === "worker.lost") ? "the worker was lost" : null),
    });
    trials.push(trial);
    lab.log(describe(trials));
    await bed.untilWhole();
  }
  return trials;
}

async function killMany(lab: Lab): Promise<readonly Trial[]> {
  const trials: Trial[] = [];
  const wanted = makeWanted(TOKENS);
  const when = { tokens: 90 };
  {
    await using bed = await Bed.start({ model: lab.model });
    const reference = await runUndisturbed(bed, wanted);
    for (const survivor of [0, 2]) {
      const fault = (): void => {
        for (let index = 0; index < bed.size; index++) if (index !== survivor) bed.worker(index).signal("SIGKILL");
      };
      trials.push(await strike(bed, { what: `two of three, ${survivor} is left`, wanted, reference, when, fault }));
      lab.log(describe(trials));
      await bed.revive(false);
      await bed.untilWhole();
    }
    const back = async (): Promise<void> => {
      for (let index = 0; index < bed.size; index++) bed.worker(index).signal("SIGKILL");
      await new Promise((resolve) => setTimeout(resolve, 2000));
      await bed.revive();
    };
    trials.push(await strike(bed, { what: "all, back after 2 s", wanted, reference, when, fault: back }));
    lab.log(describe(trials));
  }
  await using bed = await Bed.start({ model: lab.model, coordinator: { recoveryWaitMs: 4000 } });
  const reference = await runUndisturbed(bed, wanted);
  const fault = (): void => {
    for (let index = 0; index < bed.size; index++) bed.worker(index).signal("SIGKILL");
  };
  let faultMs = 0;
  const marked = (): void => {
    faultMs = performance.now();
    fault();
  };
  const trial = await strike(bed, { what: "all, and stay away", wanted, reference, when, fault: marked });
  const endMs = performance.now() - faultMs;
  const isTyped = /PEER_DEAD|PEER_UNREACHABLE|CLUSTER_NOT_READY|TIMED_OUT|DEADLINE/.test(trial.note ?? "");
  const note = `ended ${Math.round(endMs)} ms after the fault, wait of 4000 ms: ${trial.note ?? "no error"}`;
  trials.push({ ...trial, isGood: isTyped && endMs < 10_000, streams: 0, sameTokens: 0, sameKv: 0, note });
  return trials;
}

/** The last trial, for the log. */
export function describe(trials: readonly Trial[]): string {
  const last = trials.at(-1);
  if (last === undefined) return "";
  const show = (ms: number | null): string => (ms === null ? "-" : ms.toFixed(0));
  const { what, isGood, cause, detectMs, replanMs, nextTokenMs, note } = last;
  const times = `detect ${show(detectMs)}, replan ${show(replanMs)}, next token ${show(nextTokenMs)} ms`;
  return `  ${isGood ? "good" : "BAD "} ${what}: ${cause ?? "no cause"}; ${times}${note === null ? "" : `; ${note}`}`;
}
