import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readStageHolders, writeStageHolders } from "./holder-store.ts";

it("holders come back for the same model, and a damaged or foreign file counts as none", async () => {
  const folder = await mkdtemp(join(tmpdir(), "noodle-holders-"));
  try {
    expect((await readStageHolders(folder, "m1")).size).toBe(0);
    const stages = [
      { units: { first: 0, end: 3 }, nodeId: "n-1" },
      { units: { first: 3, end: 6 }, nodeId: null },
    ];
    await writeStageHolders(folder, "m1", { epoch: 1, stages });
    expect([...(await readStageHolders(folder, "m1"))]).toEqual([["0:3", "n-1"]]);
    expect((await readStageHolders(folder, "m2")).size).toBe(0);
    for (const damaged of ["", "{", "[]", '{"model":"m1","holders":7}', '{"model":"m1","holders":{"0:3":7}}']) {
      await writeFile(join(folder, "stage-holders.json"), damaged);
      expect((await readStageHolders(folder, "m1")).size).toBe(0);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
