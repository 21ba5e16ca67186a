import { NoodleError } from "../common/index.ts";
import type { CallMember } from "./call-members.ts";
import type { BatchRows, LlamaContext } from "./llama-context.ts";
import type { RowLayout } from "./row-layout.ts";
import { countOutputRows, describeCall, findNonFinite } from "./runs.ts";
import type { StageFacts } from "./stage-facts.ts";
import type { StageInput } from "./types.ts";

/** The token of a dummy row. */
const PAD_TOKEN = 0;

/** Takes rows of a micro-batch into the engine and hidden states out of it, one call at a time. */
export class EngineCalls {
  readonly #context: LlamaContext;
  readonly #facts: StageFacts;

  constructor(context: LlamaContext, facts: StageFacts) {
    this.#context = context;
    this.#facts = facts;
  }

  /**
   * Runs one engine call. Dummy rows are gone from their slots afterwards, also when it fails.
   *
   * @returns the first row of each member in the call
   * @throws NoodleError as `LlamaContext.decode`
   */
  submit(members: readonly CallMember[], input: StageInput, layout: RowLayout): readonly number[] {
    const { headOnly, hasEmbedding, nEmbd } = this.#facts;
    const counts = members.map((member) => (headOnly ? countOutputRows(member) : member.rows));
    const rows = counts.reduce((sum, count) => sum + count, 0);
    const firstRows: number[] = [];
    if (rows === 0) return counts; // a head without output rows has nothing to do
    const batch = this.#context.batch(rows, hasEmbedding ? 0 : nEmbd);
    let row = 0;
    for (const [i, member] of members.entries()) {
      firstRows.push(row);
      this.#fill(batch, row, counts[i] as number, member, input, layout);
      row += counts[i] as number;
    }
    if (headOnly) this.#context.clear(); // the zero block's cache means nothing: start it over for each call
    try {
      this.#context.decode(batch, {
        rows,
        sequences: headOnly ? 1 : members.length,
        outputRows: members.reduce((sum, member) => sum + countOutputRows(member), 0),
        ...describeCall(members),
        hidden: hasEmbedding ? null : batch.embd.subarray(0, rows * nEmbd),
      });
    } finally {
      if (!headOnly)
        for (const { run, slot, position } of members) if (run === null) this.#context.removePositions(slot, position);
    }
    return firstRows;
  }

  /** Takes the captured rows of a call to their places in the output; dummy rows have none. */
  collect(members: readonly CallMember[], layout: RowLayout, out: Float32Array): void {
    const captured = this.#context.observer?.captured;
    const { nEmbd, endsBlocks, units } = this.#facts;
    const counts = members.map((member) => (endsBlocks ? countOutputRows(member) : member.rows));
    const expected = counts.reduce((sum, count) => sum + count, 0);
    if (captured === undefined || captured.length !== expected * nEmbd) {
      throw new NoodleError(
        "ENGINE_FAILED",
        `the engine gave ${captured === undefined ? "no hidden state" : `${captured.length / nEmbd} rows`}, ${expected} were expected`,
      );
    }
    const bad = findNonFinite(captured);
    if (bad >= 0)
      throw new NoodleError(
        "NON_FINITE",
        `hidden state holds ${captured[bad]} in row ${Math.floor(bad / nEmbd)} behind unit ${units.end - 1}`,
      );
    let at = 0;
    for (const [i, { run }] of members.entries()) {
      const length = (counts[i] as number) * nEmbd;
      if (run !== null) out.set(captured.subarray(at, at + length), layout.outOffset(run));
      at += length;
    }
  }

  /** Writes a member's rows into the batch: a dummy row is token 0, or zeros. */
  #fill(batch: BatchRows, first: number, rows: number, member: CallMember, input: StageInput, layout: RowLayout): void {
    const { headOnly, hasEmbedding, hasHead, endsBlocks, nEmbd } = this.#facts;
    const { run, slot, position, output } = member;
    if (hasEmbedding) {
      if (run === null) batch.tokens[first] = PAD_TOKEN;
      else batch.tokens.set(layout.tokensOf(run, input.tokens), first);
    } else if (run === null) {
      batch.embd.fill(0, first * nEmbd, (first + rows) * nEmbd);
    } else {
      const start = layout.inOffset(run);
      batch.embd.set((input.hidden as Float32Array).subarray(start, start + rows * nEmbd), first * nEmbd);
    }
    const everyRow = headOnly || (!hasHead && !endsBlocks) || output === "all";
    for (let row = 0; row < rows; row++) {
      const isOutput = everyRow || (output === "last" && row === rows - 1);
      if (headOnly) batch.set(first + row, first + row, 0, isOutput);
      else batch.set(first + row, position + row, slot, isOutput);
    }
  }
}
