import type { CostModel } from "../profile/index.ts";
import type { StageCost } from "./types.ts";

type Phase = "prefill" | "decode";

/** Times of one phase and number of rows: linear between these contexts, and beyond the last as between the last two. */
interface Line {
  readonly contexts: readonly number[];
  readonly ms: readonly number[];
}

/**
 * What `CostModel.predictStage` gives for a stage, looked up quickly: the model is linear in the context between those
 * that were measured, so its values there say it all. A step whose logits nobody wants leaves out the head.
 */
export class CostTable implements StageCost {
  readonly #costs: CostModel;
  readonly #first: number;
  readonly #end: number;
  readonly #headUnit: number;
  /** By rows. */
  readonly #lines: Readonly<Record<Phase, (Line | undefined)[]>> = { prefill: [], decode: [] };
  readonly #headless: Readonly<Record<Phase, (Line | undefined)[]>> = { prefill: [], decode: [] };
  readonly #contexts: readonly number[];

  /** @param unitCount of the model: its last unit is the head */
  constructor(costs: CostModel, range: { readonly first: number; readonly end: number }, unitCount: number) {
    this.#costs = costs;
    this.#first = range.first;
    this.#end = range.end;
    this.#headUnit = unitCount - 1;
    this.#contexts = listContexts(costs);
  }

  predictMs(phase: Phase, rows: number, context: number, output: boolean): number {
    if (rows === 0) return this.#costs.document.step_overhead_ms[phase];
    const lines = output || this.#end <= this.#headUnit ? this.#lines[phase] : this.#headless[phase];
    let line = lines[rows];
    if (line === undefined) {
      line = this.#makeLine(phase, rows, output);
      lines[rows] = line;
    }
    return readLine(line, context);
  }

  #makeLine(phase: Phase, rows: number, output: boolean): Line {
    const end = output ? this.#end : Math.min(this.#end, this.#headUnit);
    const contexts = this.#contexts;
    const range = { first: this.#first, end: Math.max(this.#first, end) };
    return {
      contexts,
      ms: contexts.map((context) => this.#costs.predictStage(range, { phase, rows, context }).ms),
    };
  }
}

/** All contexts at which any class was measured, 0, and one beyond. */
function listContexts(costs: CostModel): readonly number[] {
  const measured = costs.document.classes.flatMap(({ decode, prefill }) => [...decode.contexts, ...prefill.contexts]);
  const contexts = [...new Set([0, ...measured])].sort((a, b) => a - b);
  return [...contexts, 2 * (contexts.at(-1) ?? 0) + 1];
}

function readLine({ contexts, ms }: Line, context: number): number {
  const last = contexts.length - 1;
  let high = 1;
  while (high < last && (contexts[high] as number) < context) high += 1;
  const fromContext = contexts[high - 1] as number;
  const fromMs = ms[high - 1] as number;
  const slope = ((ms[high] as number) - fromMs) / ((contexts[high] as number) - fromContext);
  return fromMs + slope * (context - fromContext);
}
