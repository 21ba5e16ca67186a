import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { formatUnits, type Plan } from "../state/index.ts";
import { writeFileDurably } from "./epoch-store.ts";

const FILE_NAME = "stage-holders.json";

/** Units as the split is written, and the id of the node that held them last. */
export type StageHolders = ReadonlyMap<string, string>;

/**
 * Who held which stage of this model when the coordinator ran last: these workers have the files. It only saves
 * transfers, so a file that is missing, of another model or damaged is as good as none.
 */
export async function readStageHolders(dataDir: string, modelSha256: string): Promise<StageHolders> {
  try {
    const known = JSON.parse(await readFile(join(dataDir, FILE_NAME), "utf8")) as {
      model?: unknown;
      holders?: unknown;
    };
    if (known.model !== modelSha256 || typeof known.holders !== "object" || known.holders === null) return new Map();
    return new Map(
      Object.entries(known.holders).flatMap(([units, id]) => (typeof id === "string" ? [[units, id]] : [])),
    );
  } catch {
    return new Map();
  }
}

export async function writeStageHolders(dataDir: string, modelSha256: string, plan: Plan): Promise<void> {
  const holders = Object.fromEntries(
    plan.stages.flatMap(({ units, nodeId }) => (nodeId === null ? [] : [[formatUnits(units), nodeId]])),
  );
  await writeFileDurably(join(dataDir, FILE_NAME), JSON.stringify({ model: modelSha256, holders }));
}
