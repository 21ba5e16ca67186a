import { must } from "../common/index.ts";
import { findLink, hopMs } from "./links.ts";
import type { Setup, StagePlace } from "./setup.ts";
import { padRows } from "./workload.ts";

export interface PrefillFigures {
  /** Rows of a chunk. */
  readonly rows: number;
  readonly ttftMs: number;
  readonly extrapolated: boolean;
}

/** Sizes of prompt chunks that are tried; all are whole row-class blocks. */
const CHUNKS = [16, 32, 64, 128, 256, 512] as const;

/**
 * Time to the first token of a prompt in an idle cluster, chunk behind chunk through the stages: a stage computes one
 * chunk at a time, a link carries one at a time, and behind the model's last block only the prompt's last row travels.
 */
export function predictTtft(setup: Setup, places: readonly StagePlace[], chunkRows: number): PrefillFigures {
  const { promptTokens } = setup.workload;
  const [first, last] = [must(places[0], "stage"), must(places.at(-1), "stage")];
  const head = setup.model.description.units.length - 1;
  const busyUntil = places.map(() => 0);
  const linkUntil = places.map(() => 0);
  let finished = 0;
  let extrapolated = false;
  for (let position = 0; position < promptTokens; position += chunkRows) {
    const rows = Math.min(chunkRows, promptTokens - position);
    const isLast = position + rows === promptTokens;
    let arrived = setup.enterMs(first.node, rows);
    for (const [index, place] of places.entries()) {
      // A stage of the head alone has nothing to do before the last row.
      if (place.first === head && !isLast) continue;
      const query = {
        phase: "prefill",
        rows: place.first === head ? 1 : padRows(setup.workload, rows),
        context: position,
      } as const;
      const stage = setup.node(place.node).costs.predictStage(place, query);
      extrapolated ||= stage.extrapolated;
      const started = Math.max(arrived, busyUntil[index] ?? 0);
      busyUntil[index] = started + stage.ms;
      finished = started + stage.ms;
      const next = places[index + 1];
      if (next === undefined) continue;
      const link = findLink(setup.cluster, place.node, next.node);
      const travelling = next.first === head ? (isLast ? 1 : 0) : rows;
      const transferMs = setup.activationBytes(travelling) / link.bytesPerMs;
      const sent = Math.max(finished, linkUntil[index] ?? 0) + transferMs;
      linkUntil[index] = sent;
      arrived = sent + link.latencyMs;
    }
  }
  return { rows: chunkRows, ttftMs: finished + returnMs(setup, first.node, last.node), extrapolated };
}

/** The chunk with the least time to first token; of nearly equal ones the largest. */
export function choosePrefill(setup: Setup, places: readonly StagePlace[]): PrefillFigures {
  const all = listChunks(setup).map((rows) => predictTtft(setup, places, rows));
  const least = Math.min(...all.map((one) => one.ttftMs));
  return must(
    all.findLast((one) => one.ttftMs <= least * 1.001),
    "size of chunks",
  );
}

/** The largest chunk that delays the others, who decode, by one more token at most. */
export function chooseMixedRows(
  setup: Setup,
  places: readonly StagePlace[],
  prefillRows: number,
  itlMs: number,
): number {
  const sizes = listChunks(setup).filter((rows) => rows <= prefillRows);
  const fits = sizes.filter((rows) => places.every((place) => chunkMs(setup, place, rows) <= itlMs));
  return fits.at(-1) ?? sizes[0] ?? prefillRows;
}

/** Time of a stage for one chunk of the middle of a prompt. */
export function chunkMs(setup: Setup, place: StagePlace, rows: number): number {
  const context = Math.floor(setup.workload.promptTokens / 2);
  return setup.node(place.node).costs.predictStage(place, { phase: "prefill", rows, context }).ms;
}

/** Sampled tokens on their way back to where the next step begins. */
function returnMs(setup: Setup, first: string, last: string): number {
  if (setup.cluster.coordinator !== null) return setup.leaveMs(last, 1);
  return hopMs(findLink(setup.cluster, last, first), first === last ? 0 : setup.returnBytes(1));
}

/** Larger ones than the prompt are all the same. */
function listChunks({ workload }: Setup): number[] {
  const enough = CHUNKS.find((rows) => rows >= workload.promptTokens) ?? Number.POSITIVE_INFINITY;
  const allowed = CHUNKS.filter((rows) => rows <= Math.min(workload.maxRows, enough));
  return allowed.length === 0 ? [workload.maxRows] : allowed;
}
