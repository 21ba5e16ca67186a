import { NoodleError } from "../common/index.ts";
import { groupRuns, type ScheduledBatch } from "../schedule/index.ts";
import type { Batch } from "./batch.ts";
import type { PipelineState } from "./pipeline-state.ts";

/**
 * Takes the rows that the policy chose from their sessions into a batch, and finds the engine calls that they need.
 *
 * @throws INTERNAL when the policy sends rows that do not wait
 */
export function fillBatch(batch: Batch, scheduled: ScheduledBatch, pipeline: PipelineState): void {
  batch.phase = scheduled.phase;
  let contexts = 0;
  let together = scheduled.pads.length === 0;
  let previousSlot = -1;
  for (const { sessionId, position, rows, output } of scheduled.runs) {
    const session = pipeline.byId.get(sessionId);
    if (session === undefined || position !== session.position || rows < 1 || rows > session.waitingRows) {
      throw new NoodleError("INTERNAL", `the schedule sends ${rows} rows of ${sessionId} from position ${position} on`);
    }
    if (previousSlot >= 0 && (session.slot !== previousSlot + 1 || rows > 1)) together = false;
    previousSlot = session.slot;
    contexts += position;
    batch.rows += rows;
    batch.outputRows += output === "none" ? 0 : output === "last" ? 1 : rows;
    batch.slots.push(session.slot);
    batch.sessions.push(session);
    batch.samples.push(output !== "none");
    pipeline.take(session, rows);
  }
  if (together) {
    batch.callRows.push(batch.rows);
    batch.callContexts.push(contexts / scheduled.runs.length);
    return;
  }
  const runs = scheduled.runs.map(({ position, rows }, index) => ({ slot: batch.slots[index] ?? 0, position, rows }));
  for (const group of groupRuns(runs, scheduled.pads)) {
    let sum = 0;
    for (const index of group.runs) sum += runs[index]?.position ?? 0;
    batch.callRows.push(group.rows);
    // Dummy rows read no context.
    batch.callContexts.push(group.runs.length === 0 ? 0 : sum / (group.runs.length + group.pads.length));
  }
}
