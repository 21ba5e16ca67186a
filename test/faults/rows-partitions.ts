import type { ShapedLink } from "../../src/shaper/index.ts";
import { Bed } from "./bed.ts";
import { describe } from "./rows-deaths.ts";
import { makeWanted } from "./streams.ts";
import { runUndisturbed, strike } from "./strike.ts";
import type { FaultRow, Lab, Trial } from "./types.ts";

const TOKENS = 160;
/** Streams that are still there when a lease has run out. */
const SLOWNESS = "5";
const CUT_MS = 8000;
/** Rather than the two minutes of a slow machine: what no lease finds must be found within the row's time. */
const STEP_TIMEOUT_MS = 4000;

/** 6, 7, 8: processes that live and can't reach each other. */
export const PARTITIONS: readonly FaultRow[] = [
  {
    row: 6,
    fault: "partition: worker and coordinator, worker and worker, one direction of each",
    how: `proxy: bytes vanish for ${CUT_MS / 1000} s, connections stay; all ways of a worker, its way to the coordinator, its hop, one direction`,
    expected: "others take over, the one that is cut off changes nothing, and is taken back when the way is free",
    run: partition,
  },
  {
    row: 7,
    fault: "half-open connection",
    how: "proxy: timeout(0) on the control stream, on the hop and on the calls of a worker, for good ways that follow",
    expected: "found by the lease or the deadline of a step, not by TCP",
    run: halfOpen,
  },
  {
    row: 8,
    fault: "a peer takes connections and never speaks",
    how: "proxy: the hop is reset and what connects again meets accept-only for 5 s; the same on the way to the coordinator",
    expected: "given up after the connect timeout and tried again; streams go on when somebody answers",
    run: acceptOnly,
  },
];

interface Cut {
  readonly what: string;
  readonly stage: number;
  readonly pick: (bed: Bed, worker: number) => readonly ShapedLink[];
  readonly direction?: "upstream" | "downstream";
}

const everyWay = (bed: Bed, worker: number): readonly ShapedLink[] => Object.values(bed.links(worker));

async function partition(lab: Lab): Promise<readonly Trial[]> {
  const cuts: readonly Cut[] = [
    { what: "all ways of the second worker", stage: 1, pick: everyWay },
    { what: "all ways of the first worker", stage: 0, pick: everyWay },
    { what: "control stream of the last worker", stage: 2, pick: (bed, worker) => [bed.links(worker).control] },
    { what: "hop into the second worker", stage: 1, pick: (bed, worker) => [bed.links(worker).hop] },
    {
      what: "control stream of the second worker, its words only",
      stage: 1,
      pick: (bed, worker) => [bed.links(worker).control],
      direction: "upstream",
    },
    {
      what: "hop into the last worker, its answers only",
      stage: 2,
      pick: (bed, worker) => [bed.links(worker).hop],
      direction: "downstream",
    },
  ];
  return runCuts(lab, cuts, async (bed, links, { direction }) => {
    const way = direction === undefined ? {} : { direction };
    const heal = bed.poison(links, { type: "half_open", ...way });
    await sleep(CUT_MS);
    heal();
    // What vanished is missing from these connections for good: a healed network would send it again or reset them.
    await reset(bed, links);
  });
}

async function halfOpen(lab: Lab): Promise<readonly Trial[]> {
  const cuts: readonly Cut[] = [
    { what: "control stream", stage: 1, pick: (bed, worker) => [bed.links(worker).control] },
    { what: "hop", stage: 2, pick: (bed, worker) => [bed.links(worker).hop] },
    { what: "calls and results", stage: 2, pick: (bed, worker) => [bed.links(worker).calls] },
  ];
  return runCuts(lab, cuts, async (bed, links) => {
    const heal = bed.poison(links, { type: "timeout", timeoutMs: 0 });
    await sleep(CUT_MS);
    heal();
    await reset(bed, links);
  });
}

async function acceptOnly(lab: Lab): Promise<readonly Trial[]> {
  const cuts: readonly Cut[] = [
    { what: "hop into the second worker", stage: 1, pick: (bed, worker) => [bed.links(worker).hop] },
    { what: "control stream of the last worker", stage: 2, pick: (bed, worker) => [bed.links(worker).control] },
  ];
  return runCuts(lab, cuts, async (bed, links) => {
    const heal = bed.poison(links, { type: "accept_only", direction: "downstream" });
    await reset(bed, links);
    await sleep(5000);
    heal();
    // Who was taken and never heard hangs on connections that lead nowhere until its patience ends.
  });
}

async function runCuts(
  lab: Lab,
  cuts: readonly Cut[],
  fault: (bed: Bed, links: readonly ShapedLink[], cut: Cut) => Promise<void>,
): Promise<readonly Trial[]> {
  const trials: Trial[] = [];
  const wanted = makeWanted(TOKENS);
  for (const cut of cuts) {
    await using bed = await Bed.start({
      model: lab.model,
      proxied: true,
      workerArgs: ["--emulate-speed", SLOWNESS],
      coordinator: { stepTimeoutMs: STEP_TIMEOUT_MS },
    });
    const reference = await runUndisturbed(bed, wanted);
    const trial = await strike(bed, {
      what: cut.what,
      wanted,
      reference,
      when: { tokens: 30 + Math.floor(90 * lab.random()) },
      fault: () => fault(bed, cut.pick(bed, bed.holderOf(cut.stage)), cut),
    });
    trials.push(trial);
    lab.log(describe(trials));
    try {
      await bed.untilWhole(20_000);
    } catch (thrown) {
      const note = `not whole again: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
      trials.splice(-1, 1, { ...trial, isGood: false, note });
      lab.log(describe(trials));
    }
  }
  return trials;
}

/** Ends the connections of the links, once. */
export async function reset(bed: Bed, links: readonly ShapedLink[]): Promise<void> {
  const heal = bed.poison(links, { type: "reset_peer", timeoutMs: 0, direction: "downstream" });
  await sleep(20);
  heal();
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
