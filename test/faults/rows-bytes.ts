import type { ShapedLink } from "../../src/shaper/index.ts";
import { Bed } from "./bed.ts";
import { describe } from "./rows-deaths.ts";
import { reset } from "./rows-partitions.ts";
import { makeWanted } from "./streams.ts";
import { countRecoveries, runUndisturbed, strike, type Strike } from "./strike.ts";
import type { FaultRow, Lab, Trial } from "./types.ts";

const TOKENS = 60;
/** Behind the fault a stream breaks off at so many bytes. */
const CUT_SAMPLES = 14;

/** 9 to 12: what happens to the bytes of a link. */
export const BYTES: readonly FaultRow[] = [
  {
    row: 9,
    fault: "reset in a message; bytes in pieces; cut behind k bytes",
    how: `proxy on hops: reset_peer, slicer of 1 to 40 bytes, limit_data at ${CUT_SAMPLES} numbers of bytes spread over a step`,
    expected: "no step counts twice, the codec finds its feet on the new stream; slices alone change nothing",
    run: cutBytes,
  },
  {
    row: 10,
    fault: "delayed steps and results",
    how: "proxy: 0 to 60 ms at random on hops and calls; results of the last stage 300 ms late",
    expected: "the same output, nobody given up",
    run: delay,
  },
  {
    row: 11,
    fault: "turned bits",
    how: "proxy: a bit in 3,000 to 30,000 bytes on a hop, for 1.5 s",
    expected: "found by a checksum or by the transport, computed again; never another token",
    run: corrupt,
  },
  {
    row: 12,
    fault: "200 ms of latency; a slow link",
    how: "proxy: 100 ms each way on all links of a worker; 40 bytes/ms on its hop",
    expected: "nobody is given up, every stream ends",
    run: slow,
  },
];

type Step = Omit<Strike, "wanted" | "reference" | "when"> & { readonly tokens?: number };

/** Faults one behind the other on one bed, which is whole again between them. */
async function runSteps(
  lab: Lab,
  steps: readonly ((bed: Bed) => Step)[],
  {
    maxTokens = TOKENS,
    decorate = (): void => undefined,
  }: { readonly maxTokens?: number; readonly decorate?: (bed: Bed) => void } = {},
): Promise<readonly Trial[]> {
  await using bed = await Bed.start({ model: lab.model, proxied: true });
  const wanted = makeWanted(maxTokens);
  const reference = await runUndisturbed(bed, wanted);
  decorate(bed);
  const trials: Trial[] = [];
  for (const step of steps) {
    const { tokens, ...options } = step(bed);
    const when = { tokens: tokens ?? 20 + Math.floor(80 * lab.random()) };
    trials.push(await strike(bed, { wanted, reference, when, ...options }));
    lab.log(describe(trials));
    await bed.untilWhole();
  }
  return trials;
}

const hopInto = (bed: Bed, stage: number): readonly ShapedLink[] => [bed.links(bed.holderOf(stage)).hop];

function cutBytes(lab: Lab): Promise<readonly Trial[]> {
  const resets = [1, 2].map(
    (stage) =>
      (bed: Bed): Step => ({
        what: `reset of the hop into stage ${stage}`,
        fault: () => reset(bed, hopInto(bed, stage)),
      }),
  );
  const slices = (bed: Bed): Step => ({
    what: "hops in pieces of 1 to 40 bytes",
    fault: async () => {
      const heal = bed.poison([...hopInto(bed, 1), ...hopInto(bed, 2)], {
        type: "slicer",
        averageBytes: 20,
        variationBytes: 19,
      });
      await sleep(1500);
      heal();
    },
    check: (told) => (countRecoveries(told) === 0 ? null : "pieces broke the stream"),
  });
  // A step of three rows is 3 x 192 floats and its headers: cuts are spread over it and a little more.
  const cuts = Array.from({ length: CUT_SAMPLES }, (_, sample) => (bed: Bed): Step => {
    const bytes = 1 + Math.floor(((sample + lab.random()) * 2800) / CUT_SAMPLES);
    const direction = sample % 4 === 3 ? "downstream" : "upstream";
    return {
      what: `the hop into stage ${1 + (sample % 2)} ends behind ${bytes} bytes ${direction}`,
      fault: async () => {
        const heal = bed.poison(hopInto(bed, 1 + (sample % 2)), { type: "limit_data", bytes, direction });
        await sleep(300);
        heal();
      },
    };
  });
  return runSteps(lab, [...resets, slices, ...cuts]);
}

function delay(lab: Lab): Promise<readonly Trial[]> {
  const nobody = (told: Parameters<typeof countRecoveries>[0]): string | null =>
    told.some(({ event }) => event?.name === "worker.lost") ? "a worker was given up" : null;
  return runSteps(lab, [
    (bed) => ({
      what: "0 to 60 ms on all hops and calls",
      check: nobody,
      fault: async () => {
        const links = [0, 1, 2].flatMap((worker) => [bed.links(worker).hop, bed.links(worker).calls]);
        const heal = bed.poison(links, { type: "latency", latencyMs: 30, jitterMs: 30 });
        await sleep(3000);
        heal();
      },
    }),
    (bed) => ({
      what: "results 300 ms late",
      check: nobody,
      fault: async () => {
        const links = [bed.links(bed.holderOf(2)).calls];
        const heal = bed.poison(links, { type: "latency", latencyMs: 300, direction: "downstream" });
        await sleep(3000);
        heal();
      },
    }),
  ]);
}

function corrupt(lab: Lab): Promise<readonly Trial[]> {
  const steps = [3000, 10_000, 30_000].flatMap((everyBytes) =>
    [1, 2].map((stage) => (bed: Bed): Step => {
      const [link] = hopInto(bed, stage);
      const before = link?.account("upstream").bitsTurned ?? 0;
      return {
        what: `a bit in ${everyBytes} bytes, hop into stage ${stage}`,
        fault: async () => {
          const heal = bed.poison(hopInto(bed, stage), { type: "corrupt", everyBytes, direction: "upstream" });
          await sleep(1500);
          heal();
        },
        check: () => ((link?.account("upstream").bitsTurned ?? 0) > before ? null : "no bit was turned"),
      };
    }),
  );
  return runSteps(lab, steps, { maxTokens: 90 });
}

function slow(lab: Lab): Promise<readonly Trial[]> {
  const nobody = (told: Parameters<typeof countRecoveries>[0]): string | null =>
    told.some(({ event }) => event?.name === "worker.lost" || event?.name === "plan.broken")
      ? "somebody was given up"
      : null;
  const links = (bed: Bed): readonly ShapedLink[] => Object.values(bed.links(1));
  return runSteps(
    lab,
    [
      (bed) => ({
        what: "200 ms there and back",
        tokens: 3,
        check: nobody,
        fault: async () => {
          const heal = bed.poison(links(bed), { type: "latency", latencyMs: 100 });
          await sleep(8000);
          heal();
        },
      }),
      (bed) => ({
        what: "40 bytes/ms",
        tokens: 3,
        check: nobody,
        fault: async () => {
          const heal = bed.poison([bed.links(1).hop], { type: "bandwidth", bytesPerMs: 40 });
          await sleep(6000);
          heal();
        },
      }),
    ],
    { maxTokens: 40 },
  );
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
