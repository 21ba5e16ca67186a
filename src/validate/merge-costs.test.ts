import { describe, expect, it } from "vitest";
import type { CostModelDocument } from "../profile/index.ts";
import { mergeCosts } from "./merge-costs.ts";

function makeCosts(rows: readonly number[], ms: readonly (number | null)[], name = "block"): CostModelDocument {
  const table = { rows, contexts: [0], ms: ms.map((cell) => [cell]), loo_error_ratio: null };
  const one = { name, units: [0], weights_bytes: 1, kv_bytes_per_token: 1, decode: table, prefill: table };
  return { schema: "noodle.cost_model.v1", threads: 1, step_overhead_ms: { decode: 1, prefill: 2 }, classes: [one] };
}

describe("merging cost models", () => {
  it("takes each cell's median, also of cells that only some have", () => {
    const merged = mergeCosts([makeCosts([1, 4], [1, 8]), makeCosts([1, 2, 4], [3, 5, null]), makeCosts([1], [2])]);
    expect(merged.classes[0]?.decode).toMatchObject({ rows: [1, 2, 4], ms: [[2], [5], [8]] });
  });

  it("refuses models of other classes", () => {
    const merge = () => mergeCosts([makeCosts([1], [1]), makeCosts([1], [1], "other")]);
    expect(merge).toThrow(expect.objectContaining({ code: "PROFILE_MISMATCH" }));
  });
});
