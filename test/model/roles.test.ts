import { describe, expect, it } from "vitest";
import { must } from "../../src/common/index.ts";
import { GREEDY, type StageChain } from "../../src/engine/index.ts";
import { openGguf } from "../../src/gguf/index.ts";
import { ARCHITECTURES, type ArchitectureSpec, describeModel, type DummyOptions } from "../../src/model/index.ts";
import type { HookLevel, StepObservation } from "../../src/observe/index.ts";
import { CutModel } from "./cut.ts";

const ENGINE = { contextTokens: 768, parallel: 1, threads: 1, maxRows: 128, hookable: true };
const PROMPT_ROWS = 5;
const FILLED = 700;
/** What tells roles apart costs one synchronisation each: more than this for a block is a graph that was not understood. */
const MAX_ROLE_SEGMENTS = 5;

function listVariants(spec: ArchitectureSpec): { label: string; options: DummyOptions }[] {
  const base: DummyOptions = {
    architecture: spec.name,
    // Enough that every architecture may be cut between two blocks.
    layers: spec.sliding === undefined ? 5 : Math.max(3, spec.sliding.defaultPeriod),
    type: "q8_0",
    seed: 7,
    ...(spec.sliding === undefined ? {} : { slidingWindow: 32 }),
  };
  const variants = [{ label: spec.experts === "always" ? "experts" : "dense", options: base }];
  if (spec.experts === "optional") variants.push({ label: "experts", options: { ...base, experts: 4 } });
  return variants;
}

function observe(chain: StageChain, rows: number, level: HookLevel): StepObservation {
  const position = must(chain.stages[0], "stage").nextPosition(0);
  const tokens = Int32Array.from({ length: rows }, (_, i) => 5 + i);
  const run = { slot: 0, position, rows, output: "last" as const };
  const { observation } = chain.forward({ runs: [run], tokens, hidden: null }, { observe: level });
  return must(observation, "observation");
}

function rolesOf(observation: StepObservation, unit: number): readonly string[] {
  return observation.segments.filter((segment) => segment.unit === unit).map(({ role }) => role);
}

describe.each([...ARCHITECTURES.values()])("$name", (spec) => {
  it.each(listVariants(spec))("has a unit and a role for every node, whole and cut ($label)", async ({ options }) => {
    const model = await CutModel.fromDummy(options);
    try {
      await using file = await openGguf(model.path);
      const { blockCount, legalCuts } = describeModel(file.header, file.fileBytes);
      const end = blockCount + 2;
      const middle = must(
        legalCuts.find((cut) => cut > 1 && cut < end - 1),
        "cut between two blocks",
      );
      for (const bounds of [
        [0, end],
        [0, middle, end],
      ]) {
        const ranges = bounds.slice(1).map((bound, i) => ({ first: must(bounds[i], "bound"), end: bound }));
        const chain = await model.openChain(ranges, ENGINE);
        chain.openSlot(0, GREEDY);
        for (const rows of [PROMPT_ROWS, 1]) {
          const nodes = observe(chain, rows, "node");
          expect(nodes).toMatchObject({ learning: false, otherNodes: 0 });
          expect(nodes.segments.filter(({ role }) => role === "other" || role === "total")).toEqual([]);
          for (let unit = 1; unit <= blockCount; unit++) {
            const roles = rolesOf(nodes, unit);
            const experts = roles.includes("moe.experts");
            const needed = ["norm", "attention.qkv", "attention.scores", "attention.output", "residual"];
            expect(roles).toEqual(expect.arrayContaining([...needed, experts ? "moe.router" : "mlp.down"]));
            expect(roles.filter((role) => role === "attention.kv_write")).toHaveLength(2);
            expect(roles.filter((role) => role === "attention.scores").length).toBeLessThanOrEqual(2);
          }
          expect(rolesOf(nodes, end - 1)).toEqual(expect.arrayContaining(["norm", "head", "sampling"]));
          expect(rolesOf(nodes, 0)[0]).toBe("embedding.token");

          const groups = observe(chain, rows, "role");
          for (let unit = 1; unit <= blockCount; unit++) {
            const roles = rolesOf(groups, unit);
            expect(new Set(roles)).toEqual(new Set(["norm", "attention", "mlp"]));
            expect(roles.length).toBeLessThanOrEqual(MAX_ROLE_SEGMENTS);
          }
          expect(rolesOf(groups, end - 1)).toEqual(["norm", "head", "sampling"]);

          const layers = observe(chain, rows, "layer");
          expect(layers.segments.map(({ unit }) => unit)).toEqual([
            ...Array.from({ length: end }, (_, unit) => unit),
            end - 1, // the sampler
          ]);
        }
        chain.close();
      }
    } finally {
      await model.remove();
    }
  });

  it("decodes behind a fabricated context", async () => {
    const { options } = must(listVariants(spec)[0], "variant");
    const model = await CutModel.fromDummy(options);
    try {
      const stage = await model.openWhole(ENGINE);
      stage.openSlot(0, GREEDY);
      stage.fillContext(0, FILLED);
      expect(stage.nextPosition(0)).toBe(FILLED);
      const run = { slot: 0, position: FILLED, rows: 1, output: "last" as const };
      const { sampled } = stage.forward({ runs: [run], tokens: Int32Array.of(5), hidden: null });
      expect(sampled).toHaveLength(1);
      const kv = stage.readKv(0);
      expect(kv).toHaveLength(must(options.layers, "layers"));
      // Layers that see a window only give no more than that.
      const full = kv.filter(({ kBytes }) => kBytes.byteLength % (FILLED + 1) === 0 && kBytes.byteLength > 0);
      expect(full.length).toBeGreaterThan(0);
      for (const { kBytes, vBytes } of full) {
        // The engine took the state that was made: the ninth position repeats the first.
        for (const bytes of [kBytes, vBytes]) {
          const row = bytes.byteLength / (FILLED + 1);
          expect(bytes.subarray(8 * row, 9 * row)).toEqual(bytes.subarray(0, row));
        }
      }
      stage.close();
    } finally {
      await model.remove();
    }
  });
});
