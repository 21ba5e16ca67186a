import { Bed } from "./bed.ts";
import { describe } from "./rows-deaths.ts";
import { makeWanted } from "./streams.ts";
import { countRecoveries, runUndisturbed, strike } from "./strike.ts";
import type { FaultRow, Lab, Trial } from "./types.ts";

const TOKENS = 90;
const FLAPS = 6;
const FLAP_MS = 2000;
const WINDOW_MS = 5000;

/** 3, 5: workers that stand still, and workers that come and go. */
export const FROZEN: readonly FaultRow[] = [
  {
    row: 3,
    fault: "a worker stands still for 1 s, for 5 s",
    how: "SIGSTOP and SIGCONT of supervisor and stage host, each of three stages",
    expected: "1 s: nobody is given up; 5 s: others take over, and what the sleeper says when it wakes changes nothing",
    run: freezeWorkers,
  },
  {
    row: 5,
    fault: "a worker flaps",
    how: `SIGKILL and start of the same node every ${FLAP_MS / 1000} s, ${FLAPS} times, while streams run`,
    expected: "behind the third loss it rests before it gets a stage again: then at most one plan in 5 s",
    run: flap,
  },
];

async function freezeWorkers(lab: Lab): Promise<readonly Trial[]> {
  await using bed = await Bed.start({ model: lab.model });
  const wanted = makeWanted(TOKENS);
  const reference = await runUndisturbed(bed, wanted);
  const trials: Trial[] = [];
  for (let stage = 0; stage < 3; stage++) {
    for (const frozenMs of [1000, 5000]) {
      const worker = bed.worker(bed.holderOf(stage));
      const isLong = frozenMs > 3000;
      const trial = await strike(bed, {
        what: `${frozenMs / 1000} s, stage ${stage}`,
        wanted,
        reference,
        when: { tokens: 20 + Math.floor(100 * lab.random()) },
        fault: async () => {
          worker.signal("SIGSTOP");
          await new Promise((resolve) => setTimeout(resolve, frozenMs));
          worker.signal("SIGCONT");
          // What it owes comes now, while the streams run, or behind their end.
          await new Promise((resolve) => setTimeout(resolve, 500));
        },
        check: (told) => {
          const recoveries = countRecoveries(told);
          return recoveries === (isLong ? 1 : 0) ? null : `${recoveries} recoveries`;
        },
      });
      trials.push(trial);
      lab.log(describe(trials));
      await bed.untilWhole();
    }
  }
  const after = await runUndisturbed(bed, wanted);
  const isSame = after.every(({ tokens }, index) => tokens.join() === reference[index]?.tokens.join());
  if (!isSame) throw new Error("streams behind the last sleeper say something else");
  return trials;
}

async function flap(lab: Lab): Promise<readonly Trial[]> {
  await using bed = await Bed.start({ model: lab.model, workerArgs: ["--emulate-speed", "12"] });
  const wanted = makeWanted(220);
  const reference = await runUndisturbed(bed, wanted);
  const lostMs: number[] = [];
  const victim = bed.holderOf(1);
  const fault = async (): Promise<void> => {
    for (let time = 0; time < FLAPS; time++) {
      lostMs.push(performance.now());
      bed.worker(victim).signal("SIGKILL");
      await new Promise((resolve) => setTimeout(resolve, FLAP_MS / 2));
      await bed.revive();
      await new Promise((resolve) => setTimeout(resolve, FLAP_MS / 2));
    }
  };
  const trial = await strike(bed, {
    what: `${FLAPS} times`,
    wanted,
    reference,
    when: { tokens: 30 },
    fault,
    limitMs: 120_000,
    check: (told) => {
      const plansMs = told.filter(({ plan }) => plan !== undefined).map(({ atMs }) => atMs);
      const later = plansMs.filter((atMs) => atMs > (lostMs[3] ?? 0));
      const most = Math.max(
        0,
        ...later.map((from) => later.filter((atMs) => atMs >= from && atMs < from + WINDOW_MS).length),
      );
      return most > 1 ? `${plansMs.length} plans, ${most} of them within 5 s behind the fourth loss` : null;
    },
  });
  lab.log(describe([trial]));
  return [trial];
}
