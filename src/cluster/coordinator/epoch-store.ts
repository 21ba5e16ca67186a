import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { NoodleError } from "../../common/index.ts";

const FILE_NAME = "coordinator-epoch";

/** Plan epochs of one start of the coordinator; starts are this far apart. */
const PLAN_EPOCHS_PER_START = 1_000_000;

/**
 * Takes the next coordinator epoch: one above the last that this data directory has seen, on disk before it is used,
 * so that epochs grow from start to start.
 *
 * @throws FILE_UNREADABLE when the stored number is damaged: starting over would let stale plans pass for new ones
 */
export async function takeCoordinatorEpoch(dataDir: string): Promise<number> {
  await mkdir(dataDir, { recursive: true });
  const path = join(dataDir, FILE_NAME);
  let last = 0;
  try {
    const text = await readFile(path, "utf8");
    if (!/^[1-9]\d{0,8}\n$/.test(text)) {
      throw new NoodleError(
        "FILE_UNREADABLE",
        `${path} does not hold an epoch; remove it when no worker of this cluster runs`,
      );
    }
    last = Number(text);
  } catch (error) {
    if (NoodleError.from(error).code !== "FILE_NOT_FOUND") throw error;
  }
  const epoch = last + 1;
  await writeFileDurably(path, `${epoch}\n`);
  return epoch;
}

/** Number that the plan epochs of this start of the coordinator lie above. */
export function firstPlanEpoch(coordinatorEpoch: number): number {
  return coordinatorEpoch * PLAN_EPOCHS_PER_START;
}

/** Replaces a file so that either the old or the new content is there after a crash. */
export async function writeFileDurably(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  const handle = await open(temporary, "w");
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, path);
}
