import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GREEDY, type SlotStart, type StageInput, type StageOutput } from "../../src/engine/index.ts";
import type { DummyOptions, UnitRange } from "../../src/model/index.ts";
import { CutModel } from "./cut.ts";
import type { Runner } from "./harness.ts";

const CONTEXT = 400;
const VOCAB = 300;
const MODELS: readonly { readonly name: string; readonly options: DummyOptions; readonly cuts: readonly number[] }[] = [
  {
    name: "llama",
    options: { architecture: "llama", layers: 3, type: "q8_0", vocab: VOCAB, seed: 5 },
    cuts: [0, 1, 3, 4, 5], // embedding alone, blocks, the last block, head alone
  },
  {
    name: "gpt2",
    options: { architecture: "gpt2", layers: 2, type: "q8_0", vocab: VOCAB, seed: 5 },
    cuts: [0, 2, 4],
  },
  {
    name: "gemma3, with windows",
    options: { architecture: "gemma3", layers: 6, type: "q8_0", vocab: VOCAB, seed: 5, slidingWindow: 32 },
    cuts: [0, 3, 6, 8],
  },
];

/** What both an undivided stage and a chain of stages offer, with slots that keep what they hold. */
interface SlotRunner extends Omit<Runner, "openSlot" | "closeSlot"> {
  openSlot(slot: number, sampling: typeof GREEDY, start?: SlotStart): void;
  closeSlot(slot: number, keep?: boolean): void;
  close(): void;
}

const tokenAt = (text: number, position: number): number =>
  5 + ((Math.imul(position + 17 + 1000 * text, 2654435761) >>> 8) % (VOCAB - 5));

/** Feeds positions of a text in calls of at most 60 rows. @returns a hash of the last position's logits. */
function feed(runner: SlotRunner, slot: number, text: number, from: number, to: number): string {
  let logits = "none";
  for (let position = from; position < to; position += 60) {
    const rows = Math.min(60, to - position);
    logits = hash(step(runner, [{ slot, position, rows, text }]).sampled[0]?.logits);
  }
  return logits;
}

function step(
  runner: SlotRunner,
  runs: readonly { slot: number; position: number; rows: number; text: number }[],
  pads: readonly number[] = [],
): StageOutput {
  const tokens = runs.flatMap(({ position, rows, text }) =>
    Array.from({ length: rows }, (_, i) => tokenAt(text, position + i)),
  );
  const input: StageInput = {
    runs: runs.map(({ slot, position, rows }) => ({ slot, position, rows, output: "last" })),
    tokens: Int32Array.from(tokens),
    hidden: null,
    pads,
  };
  return runner.forward(input, { wantLogits: true });
}

/** Hashes of a slot's keys and values. */
function hashKv(runner: SlotRunner, slot: number): string[] {
  return runner.readKv(slot).map(({ block, kBytes, vBytes }) => `${block} ${hash(kBytes)} ${hash(vBytes)}`);
}

function hash(values: ArrayBufferView | null | undefined): string {
  if (values === null || values === undefined) return "none";
  return createHash("sha256")
    .update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    .digest("hex");
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return "nothing thrown";
}

describe.each(MODELS)("slots of $name", ({ options, cuts }) => {
  let model: CutModel;
  let runners: SlotRunner[];
  /** Logits behind and KV bytes of the first positions of text 1, computed at a stretch in a slot of its own. */
  let fresh: (tokens: number) => { kv: string[]; next: string };
  beforeAll(async () => {
    model = await CutModel.fromDummy(options);
    const config = { contextTokens: CONTEXT, parallel: 6, threads: 1, maxRows: 64 };
    const ranges: UnitRange[] = cuts.slice(1).map((end, i) => ({ first: cuts[i] ?? 0, end }));
    runners = [await model.openWhole(config), await model.openChain(ranges, config)];
    const whole = await model.openWhole({ ...config, parallel: 2 });
    fresh = (tokens) => {
      whole.openSlot(1, GREEDY);
      feed(whole, 1, 1, 0, tokens);
      return { kv: hashKv(whole, 1), next: feed(whole, 1, 1, tokens, tokens + 1) };
    };
    runners.push(whole);
  });
  afterAll(async () => {
    for (const runner of runners) runner.close();
    await model.remove();
  });

  it("hold what they kept when they are opened again, cut to what is wanted", () => {
    for (const runner of runners.slice(0, 2)) {
      for (const tokens of [1, 90, 250]) {
        runner.openSlot(2, GREEDY);
        feed(runner, 2, 1, 0, 250);
        runner.closeSlot(2, true);
        runner.openSlot(2, GREEDY, { keepTokens: tokens });
        const { kv, next } = fresh(tokens);
        expect(hashKv(runner, 2)).toEqual(kv);
        expect(feed(runner, 2, 1, tokens, tokens + 1)).toEqual(next);
      }
    }
  });

  // Short prefixes of short sequences go through this process, the others by the library's own copy.
  it.each([
    { tokens: 20, held: 40, open: true },
    { tokens: 20, held: 40, open: false },
    { tokens: 50, held: 300, open: true },
    { tokens: 300, held: 300, open: false },
  ])("take over $tokens of $held positions of another slot (open: $open)", ({ tokens, held, open }) => {
    const { kv, next } = fresh(tokens);
    for (const runner of runners.slice(0, 2)) {
      runner.openSlot(0, GREEDY);
      feed(runner, 0, 1, 0, held);
      if (!open) runner.closeSlot(0, true);
      for (const slot of [4, 5]) {
        runner.openSlot(slot, GREEDY);
        feed(runner, slot, 2, 0, 33); // it held something else before
        runner.openSlot(slot, GREEDY, { keepTokens: tokens, copyFrom: 0 });
      }
      expect(hashKv(runner, 4)).toEqual(kv);
      // The source goes on, and is taken by another text, without touching what was copied.
      if (!open) runner.openSlot(0, GREEDY);
      feed(runner, 0, 3, open ? held : 0, open ? held + 9 : 40);
      expect(feed(runner, 5, 1, tokens, tokens + 1)).toEqual(next);
      expect(feed(runner, 4, 1, tokens, tokens + 1)).toEqual(next);
      for (const slot of [0, 4, 5]) runner.closeSlot(slot);
    }
  });

  it("take over what was itself taken over a moment ago", () => {
    const { kv, next } = fresh(200);
    for (const runner of runners.slice(0, 2)) {
      runner.openSlot(0, GREEDY);
      feed(runner, 0, 1, 0, 210);
      for (const slot of [1, 2, 3]) runner.openSlot(slot, GREEDY, { keepTokens: 200, copyFrom: slot - 1 });
      runner.closeSlot(0);
      runner.openSlot(0, GREEDY);
      feed(runner, 0, 2, 0, 64);
      expect(hashKv(runner, 3)).toEqual(kv);
      expect(feed(runner, 3, 1, 200, 201)).toEqual(next);
      for (const slot of [0, 1, 2, 3]) runner.closeSlot(slot);
    }
  });

  it("refuse a beginning that is not there, and are then as they were", () => {
    for (const runner of runners.slice(0, 2)) {
      runner.openSlot(0, GREEDY);
      feed(runner, 0, 1, 0, 20);
      runner.closeSlot(0, true);
      const open = (slot: number, start: SlotStart): string => codeOf(() => runner.openSlot(slot, GREEDY, start));
      expect(open(0, { keepTokens: 21 })).toBe("PREFIX_GONE");
      expect(open(1, { keepTokens: 1 })).toBe("PREFIX_GONE");
      expect(open(1, { keepTokens: 5, copyFrom: 3 })).toBe("PREFIX_GONE");
      expect(open(1, { keepTokens: 5, copyFrom: 77 })).toBe("PREFIX_GONE");
      expect(open(1, { keepTokens: -1 })).toBe("USAGE");
      expect(open(6, {})).toBe("SESSION_LIMIT");
      runner.openSlot(0, GREEDY, { keepTokens: 20 });
      expect(open(0, { keepTokens: 5 })).toBe("PREFIX_GONE"); // it is open: nothing is kept
      const { kv } = fresh(20);
      expect(hashKv(runner, 0)).toEqual(kv);
      runner.closeSlot(0, true);
      runner.closeSlot(0);
      expect(open(0, { keepTokens: 1 })).toBe("PREFIX_GONE");
    }
  });

  it("take dummy rows and hold afterwards what they held before", () => {
    for (const runner of runners.slice(0, 2)) {
      const run = (pads: readonly number[]): { logits: string[]; kv: string[][] } => {
        const logits: string[] = [];
        runner.openSlot(0, GREEDY);
        feed(runner, 0, 2, 0, 41);
        runner.closeSlot(0, true); // kept
        runner.openSlot(2, GREEDY);
        feed(runner, 2, 3, 0, 11); // open and idle
        for (const slot of [1, 3]) {
          runner.openSlot(slot, GREEDY);
          feed(runner, slot, 1, 0, 30);
        }
        for (let position = 30; position < 36; position++) {
          const runs = [3, 1].map((slot) => ({ slot, position, rows: 1, text: 1 }));
          const { sampled } = step(runner, runs, pads);
          expect(sampled.map((token) => token.run).toSorted((a, b) => a - b)).toEqual([0, 1]);
          for (const run of [0, 1]) logits.push(hash(sampled.find((token) => token.run === run)?.logits));
        }
        runner.openSlot(0, GREEDY, { keepTokens: 41 });
        logits.push(feed(runner, 0, 2, 41, 45), feed(runner, 2, 3, 11, 12));
        const kv = [0, 1, 2, 3].map((slot) => hashKv(runner, slot));
        for (const slot of [0, 1, 2, 3]) runner.closeSlot(slot);
        return { logits, kv };
      };
      const expected = run([]);
      for (const pads of [[2], [0, 2, 4, 5], [4, 0]]) expect(run(pads)).toEqual(expected);
    }
  });

  it("refuse dummy rows in full slots, and undo them when a call fails", () => {
    const [runner] = runners;
    if (runner === undefined) throw new Error("no runner");
    runner.openSlot(0, GREEDY);
    feed(runner, 0, 1, 0, CONTEXT);
    runner.openSlot(1, GREEDY);
    const decode = (token: number, pads: readonly number[]): StageOutput =>
      runner.forward(
        {
          runs: [{ slot: 1, position: 0, rows: 1, output: "last" }],
          tokens: Int32Array.of(token),
          hidden: null,
          pads,
        },
        { wantLogits: true },
      );
    expect(codeOf(() => decode(5, [0]))).toBe("FRAME_INVALID");
    expect(codeOf(() => decode(1_000_000, [2]))).toBe("ENGINE_FAILED");
    const { sampled } = decode(5, [2]);
    runner.openSlot(1, GREEDY);
    expect(decode(5, []).sampled).toEqual(sampled);
    runner.openSlot(2, GREEDY);
    expect(feed(runner, 2, 1, 0, 20)).toEqual(fresh(19).next);
    for (const slot of [0, 1, 2]) runner.closeSlot(slot);
  });
});
