import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { must } from "../../src/common/index.ts";
import { openGguf, writeGguf } from "../../src/gguf/index.ts";
import {
  ARCHITECTURES,
  type ArchitectureSpec,
  describeModel,
  type DummyOptions,
  type ModelDescription,
} from "../../src/model/index.ts";
import { openStage, StageChain } from "../../src/engine/index.ts";
import { CutModel } from "./cut.ts";
import { firstDifference, LONG_SCHEDULE, runTrace, SHORT_SCHEDULE, type Trace } from "./harness.ts";

const DOCUMENT = fileURLToPath(new URL("../../docs/architectures.md", import.meta.url));
const ENGINE = { contextTokens: 768, parallel: 1, threads: 1, maxRows: 128 };
/** Far below the length of the text, so that cells leave every window. */
const WINDOW = 32;

interface Variant {
  readonly label: string;
  readonly options: DummyOptions;
}

function listVariants(spec: ArchitectureSpec): Variant[] {
  const base: DummyOptions = {
    architecture: spec.name,
    // Two whole periods of the known layer patterns, so that cuts fall everywhere in them.
    layers: spec.sliding === undefined ? 5 : 2 * Math.max(2, spec.sliding.defaultPeriod),
    type: "q8_0",
    seed: 7,
    ...(spec.sliding === undefined ? {} : { slidingWindow: WINDOW }),
  };
  const variants: Variant[] = [{ label: spec.experts === "always" ? "experts" : "dense", options: base }];
  if (spec.output === "optional") variants.push({ label: "own output matrix", options: { ...base, tied: false } });
  if (spec.experts === "optional") variants.push({ label: "experts", options: { ...base, experts: 4 } });
  return variants;
}

const rows: string[] = [];

describe.each([...ARCHITECTURES.values()])("$name", (spec) => {
  it.each(listVariants(spec))(
    "gives the undivided engine's bits at every legal cut ($label)",
    async ({ label, options }) => {
      const model = await CutModel.fromDummy(options);
      try {
        const description = await readDescription(model);
        const expected = await traceWhole(model, description, LONG_SCHEDULE);
        const expectedShort = await traceWhole(model, description, SHORT_SCHEDULE);
        expect(expected.kv).toHaveLength(description.blockCount);
        const end = description.blockCount + 2;
        expect(description.legalCuts.length).toBeGreaterThan(1);
        for (const cut of description.legalCuts) {
          const chain = await model.openChain(
            [
              { first: 0, end: cut },
              { first: cut, end },
            ],
            ENGINE,
          );
          const difference = firstDifference(runTrace(chain, SHORT_SCHEDULE, description.vocabSize), expectedShort);
          chain.close();
          expect(difference, `cut ${cut}`).toBeNull();
        }
        // All legal cuts at once: as many stages as there can be.
        const bounds = [0, ...description.legalCuts, end];
        const ranges = bounds.slice(1).map((bound, i) => ({ first: must(bounds[i], "bound"), end: bound }));
        const chain = await model.openChain(ranges, ENGINE);
        expect(firstDifference(runTrace(chain, LONG_SCHEDULE, description.vocabSize), expected), "all cuts").toBeNull();
        chain.close();
        rows.push(describeRow(spec, label, options, description));
      } finally {
        await model.remove();
      }
    },
  );

  it("is told from a deliberately wrong cut", async () => {
    const { options } = must(listVariants(spec)[0], "variant");
    const model = await CutModel.fromDummy(options);
    try {
      const description = await readDescription(model);
      const expected = await traceWhole(model, description, SHORT_SCHEDULE);
      const end = description.blockCount + 2;
      // Where a cut may fall inside a period of the layer pattern, it does: there a pattern counted anew is wrong.
      const insidePeriod =
        spec.sliding !== undefined && 2 % spec.sliding.defaultPeriod !== 0 && description.legalCuts.includes(3);
      const cut = insidePeriod ? 3 : must(description.legalCuts[0], "cut");
      for (const spoil of insidePeriod ? [swapBlocks, forgetWindows] : [swapBlocks]) {
        const wrong = await spoil(await model.cut({ first: cut, end }));
        const chain = new StageChain([
          await openStage({ stageFile: await model.cut({ first: 0, end: cut }), ...ENGINE }),
          await openStage({ stageFile: wrong, ...ENGINE }),
        ]);
        expect(
          firstDifference(runTrace(chain, SHORT_SCHEDULE, description.vocabSize), expected),
          spoil.name,
        ).not.toBeNull();
        chain.close();
      }
    } finally {
      await model.remove();
    }
  });
});

/** The list is written from what the tests above have shown; `UPDATE_DOCS=1` renews it. */
afterAll(async () => {
  if (rows.length < ARCHITECTURES.size) return; // some failed or were not selected: nothing to compare
  const text = [
    "# Architectures",
    "",
    "Written by `test/model/architectures.test.ts` (`UPDATE_DOCS=1 npx vitest run test/model/architectures`). For each row a small",
    "random-weight model is cut at every legal place and run over 204 positions in calls of 1 to 70 rows, and cut at all of them at",
    "once and run over 654 in calls of 1 to 128 rows (1, 2, 4, 63 and 64 rows across 500-520 cells); logits and KV bytes equal the",
    `undivided engine's bit for bit. Windows are ${WINDOW} tokens, shorter than the text. A deliberately wrong cut is found.`,
    "",
    "| architecture | variant | blocks | cuts tested | cuts refused, and why |",
    "|---|---|---|---|---|",
    ...rows.toSorted(),
    "",
    "Any other architecture needs `--unverified`, which compares the cut with the undivided model before it is used.",
    "",
  ].join("\n");
  if (process.env["UPDATE_DOCS"] === "1") await writeFile(DOCUMENT, text);
  expect(await readFile(DOCUMENT, "utf8")).toBe(text);
});

function describeRow(
  spec: ArchitectureSpec,
  label: string,
  options: DummyOptions,
  description: ModelDescription,
): string {
  const kind = spec.sliding === undefined ? label : `${label}, sliding windows`;
  const reasons = [...new Set(description.illegalCuts.map(({ reason }) => reason))].join("; ");
  const illegal =
    description.illegalCuts.length === 0
      ? "none"
      : `${description.illegalCuts.map(({ cut }) => cut).join(", ")}: ${reasons}`;
  return `| ${spec.name} | ${kind} | ${options.layers} | ${description.legalCuts.join(", ")} | ${illegal} |`;
}

async function readDescription(model: CutModel): Promise<ModelDescription> {
  await using file = await openGguf(model.path);
  return describeModel(file.header, file.fileBytes);
}

async function traceWhole(model: CutModel, description: ModelDescription, schedule: readonly number[]): Promise<Trace> {
  const whole = await model.openWhole(ENGINE);
  const trace = runTrace(whole, schedule, description.vocabSize);
  whole.close();
  return trace;
}

/** A cut that mixes up its first two blocks' feed-forward matrices. */
async function swapBlocks(path: string): Promise<string> {
  return rewrite(path, (name) => {
    const match = /^blk\.([01])\.(ffn_down.*)$/.exec(name);
    return match === null ? name : `blk.${match[1] === "0" ? 1 : 0}.${match[2]}`;
  });
}

/** A cut that leaves the windows to the architecture's habit, counted from the stage's first block. */
async function forgetWindows(path: string): Promise<string> {
  return rewrite(path, (name) => name, /\.sliding_window_pattern$/);
}

async function rewrite(path: string, dataOf: (tensor: string) => string, withoutKey?: RegExp): Promise<string> {
  await using file = await openGguf(path);
  const wrong = `${path}.wrong.gguf`;
  const tensors = [];
  for (const { name, dims, type } of file.header.tensors) {
    tensors.push({ name, dims, type, data: await file.readTensor(must(file.tensor(dataOf(name)), name)) });
  }
  const metadata = new Map(
    [...file.header.metadata].filter(([key]) => withoutKey === undefined || !withoutKey.test(key)),
  );
  await writeGguf(wrong, { metadata, tensors });
  return wrong;
}
