import { BYTES } from "./rows-bytes.ts";
import { COORDINATOR } from "./rows-coordinator.ts";
import { DEATHS } from "./rows-deaths.ts";
import { FROZEN } from "./rows-frozen.ts";
import { MOVES } from "./rows-moves.ts";
import { PARTITIONS } from "./rows-partitions.ts";
import { STORAGE } from "./rows-storage.ts";
import type { FaultRow } from "./types.ts";

/** In the order of the matrix. */
export const FAULT_ROWS: readonly FaultRow[] = [
  ...DEATHS,
  ...FROZEN,
  ...PARTITIONS,
  ...BYTES,
  ...COORDINATOR,
  ...STORAGE,
  ...MOVES,
].sort((a, b) => a.row - b.row);
