import type { SchedulePolicy, WaitingSession } from "./types.ts";

/** A chunk of fewer rows is slower for each row than the overlap of stages is worth. */
const LEAST_OVERLAP_ROWS = 32;
/** Other prompts fill the pipeline's ends: then nothing is won by chunks that cost more for each row. */
const LEAST_BURST_ROWS = 64;

/** A prompt in this many chunks for each stage leaves little of the pipeline idle at its ends. */
const OVERLAP_CHUNKS = 4;

/**
 * A prompt of no more rows than this is read in a few chunks also while others decode: it delays them as much in all,
 * and the sooner it decodes with them, the fewer micro-batches there are.
 */
const SHORT_PROMPT_ROWS = 256;
const SHORT_PROMPT_CHUNKS = 4;
/** While at least as many read as decode: then most of those who wait, wait for a first token. */
const BURST_CHUNKS = 2;

/**
 * Rows of a prompt's next chunk.
 *
 * @param position of its first row
 * @param left rows of the prompt that are known and not sent
 * @param beside sessions that decode, and sessions that read a prompt, this one among them
 */
export function countChunkRows(
  session: Pick<WaitingSession, "maxRows" | "promptRows">,
  position: number,
  left: number,
  beside: { readonly decoding: number; readonly reading: number },
  policy: Pick<SchedulePolicy, "determinism" | "prefillRows" | "mixedPrefillRows" | "stages">,
): number {
  const most = Math.min(policy.prefillRows, session.maxRows ?? policy.prefillRows);
  // Boundaries at absolute positions: a row's company is the same whatever runs beside, and wherever reading began.
  if (policy.determinism === "strict") return Math.min(left, most - (position % most));
  if (beside.decoding > 0) {
    // Each session gets its share of the time: many prompts beside few that decode are read in longer chunks.
    const share = Math.max(1, Math.floor(beside.reading / beside.decoding));
    const { promptRows } = session;
    const chunks = beside.reading >= beside.decoding ? BURST_CHUNKS : SHORT_PROMPT_CHUNKS;
    const few = promptRows <= SHORT_PROMPT_ROWS ? Math.ceil(promptRows / chunks) : 0;
    return Math.min(left, most, Math.max(few, policy.mixedPrefillRows * share));
  }
  if (policy.stages === 1) return Math.min(left, most);
  const wanted = Math.ceil(session.promptRows / (OVERLAP_CHUNKS * policy.stages));
  const least = beside.reading > 1 ? LEAST_BURST_ROWS : LEAST_OVERLAP_ROWS;
  const even = Math.ceil(wanted / least) * least;
  return Math.min(left, most, even);
}
