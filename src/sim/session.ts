import type { WaitingSession } from "../schedule/index.ts";
import type { PipelineState } from "./pipeline-state.ts";
import type { SimRequest } from "./types.ts";

/** A request that has been admitted, or was and waits to be read again. What the policy sees of it is part of it. */
export class Session implements WaitingSession {
  readonly id: string;
  readonly client: string;
  /** Index of the request. */
  readonly request: number;
  readonly promptTokens: number;
  readonly genTokens: number;
  readonly priority = 0;
  readonly allOutputs = false;
  readonly maxRows = null;
  slot = -1;
  position = 0;
  waitingRows = 0;
  promptRows = 0;
  readySince = 0;
  /** Tokens that it has got. */
  generated = 0;
  lastTokenMs = 0;
  /** When it is open on all stages. */
  opensMs = 0;
  pipeline: PipelineState | null = null;
  /** Where it stands among those of its pipeline that have rows to send; -1 = it has none. */
  waitingPlace = -1;

  /** Of its prompt, each of `blockTokens`. */
  readonly blocks: readonly number[];
  readonly #blockTokens: number;

  constructor(index: number, request: SimRequest, blockTokens: number) {
    this.id = `r${index}`;
    this.request = index;
    this.client = request.client;
    this.promptTokens = request.promptTokens;
    this.genTokens = request.genTokens;
    this.blocks = request.blocks ?? [];
    this.#blockTokens = blockTokens;
  }

  /** Tokens that its prompt and another begin with; at least its last one has to be computed. */
  countCommon(blocks: readonly number[]): number {
    let common = 0;
    while (common < blocks.length && common < this.blocks.length && blocks[common] === this.blocks[common]) common += 1;
    return Math.min(common * this.#blockTokens, this.promptTokens - 1);
  }

  /** Tokens for which it needs KV before it ends: the last one sampled is never computed. */
  get neededTokens(): number {
    return this.promptTokens + this.genTokens - 1;
  }

  /** Its text, prompt and what was generated so far, has to be read from `keptTokens` on. */
  restart(keptTokens: number): void {
    const textTokens = this.promptTokens + this.generated;
    // With all but the last sampled token in the KV it goes on where it was.
    const decodes = this.generated > 0 && keptTokens === textTokens - 1;
    this.promptRows = decodes ? keptTokens : textTokens;
    this.position = keptTokens;
    this.waitingRows = textTokens - keptTokens;
  }
}
