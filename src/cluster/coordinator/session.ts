import { NoodleError } from "../../common/index.ts";
import type { SessionId } from "../../protocol/index.ts";
import type { CallPlace, ClassNotes, ReplayStep, ScheduledRun, WaitingSession } from "../../schedule/index.ts";
import type { EventQueue } from "./event-queue.ts";
import type { FinishReason, GenerateEvent, TokenLogprobs } from "./generate-event.ts";
import type { GenerateRequest } from "./generate-request.ts";
import { type SampledStep, SessionOutput } from "./session-output.ts";
import { SessionFate } from "./session-fate.ts";
import { type RowsMark, SessionRows } from "./session-rows.ts";
import type { SessionStall } from "./session-stall.ts";
import { SessionTimes } from "./stage-samples.ts";
import type { PromptTokenizer } from "./tokenizer.ts";

/** Where a session lives. */
export interface SessionPlace {
  readonly id: SessionId;
  readonly slot: number;
  readonly epoch: number;
  readonly stages: number;
}

export interface SessionLimits {
  readonly contextTokens: number;
  /** Most rows of a step whose rows are all outputs. */
  readonly maxOutputRows: number;
}

/** What was generated before, by another coordinator or on stages that are gone. */
export interface SessionHistory {
  /** What the request was called then. */
  readonly id: SessionId;
  readonly generatedTokenIds: readonly number[];
  /** How the positions were computed, from the first on; as many as are known. */
  readonly notes: ClassNotes;
}

/** Where a session was open, and how far it was there. */
export interface SessionMark {
  readonly epoch: number;
  readonly fence: number;
  readonly times: SessionTimes;
  readonly rows: RowsMark;
}

/**
 * A running generation: the token history, what of it is on the stages, and what comes back. No I/O; the session runner
 * moves its steps, and its reader takes what it puts into `output`.
 */
export class Session {
  readonly id: SessionId;
  readonly slot: number;
  readonly request: GenerateRequest;
  readonly client: string;
  /** Prompt, then every sampled token. */
  readonly tokens: number[];
  readonly promptTokens: number;
  /** Its id alone, for the records of its steps. */
  readonly requestIds: readonly string[];
  /** Resolves when every stage has computed the prompt, or when the session is over. */
  readonly promptRead: Promise<void>;
  /** When it could be served last, in the runner's count. */
  readySince = 0;
  /** Steps under way. */
  stepsInFlight = 0;
  readonly #rows = new SessionRows();
  readonly #limits: SessionLimits;
  readonly #output: SessionOutput;
  readonly #fate = new SessionFate();
  /** It stands still; null while it goes on. */
  stall: SessionStall | null = null;
  /** Interruptions in a row that it got nowhere between. */
  #fruitless = 0;
  #progress = -1;
  #epoch: number;
  #fence = 1;
  #times: SessionTimes;
  #running = false;
  #tellRead: () => void = () => undefined;
  #firstTokenMs: number | null = null;
  #lastTokenMs: number | null = null;

  constructor(
    place: SessionPlace,
    request: GenerateRequest,
    promptTokenIds: readonly number[],
    limits: SessionLimits,
    tokenizer: PromptTokenizer,
    output: EventQueue<GenerateEvent>,
  ) {
    this.id = place.id;
    this.slot = place.slot;
    this.#epoch = place.epoch;
    this.request = request;
    this.client = request.client ?? "";
    this.tokens = [...promptTokenIds];
    this.promptTokens = promptTokenIds.length;
    this.requestIds = [place.id];
    this.#times = new SessionTimes(place.stages);
    this.#limits = limits;
    this.#output = new SessionOutput(request, this.promptTokens, tokenizer, output);
    this.promptRead = new Promise((resolve) => {
      this.#tellRead = resolve;
    });
  }

  /** Of the pipeline that it was opened on. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Grows each time it is opened anew: what is said of an earlier opening is stale. */
  get fence(): number {
    return this.#fence;
  }

  get times(): SessionTimes {
    return this.#times;
  }

  /** Null while it runs, or has failed. */
  get finishReason(): FinishReason | null {
    return this.#fate.finishReason;
  }

  /** The stop text that ended it. */
  get stopText(): string | null {
    return this.#output.stopText;
  }

  /** Finished or failed: nothing of it is sent any more. */
  get isOver(): boolean {
    return this.#fate.isOver;
  }

  /** Aborted when it is over, one way or the other. */
  get over(): AbortSignal {
    return this.#fate.over;
  }

  /** What it failed with; undefined while it did not. */
  get failure(): NoodleError | undefined {
    return this.#fate.failure;
  }

  get generatedTokens(): number {
    return this.tokens.length - this.promptTokens;
  }

  /** Prompt tokens that it did not have to compute. */
  get cachedTokens(): number {
    return this.#rows.cached;
  }

  /** Positions that every stage has computed. */
  get answeredRows(): number {
    return this.#rows.answered;
  }

  /** Every row that was sent has been computed by every stage. */
  get isSettled(): boolean {
    return this.#rows.answered === this.#rows.sent;
  }

  get firstTokenMs(): number | null {
    return this.#firstTokenMs;
  }

  get lastTokenMs(): number | null {
    return this.#lastTokenMs;
  }

  get notes(): ClassNotes {
    return this.#rows.notes;
  }

  /** Positions that were sent at least once: what stages that hold nothing have to compute again. */
  get notedRows(): number {
    return this.#rows.noted;
  }

  /** Interruptions in a row that it got nowhere between. */
  get fruitless(): number {
    return this.#fruitless;
  }

  /** Where it is. */
  get mark(): SessionMark {
    return { epoch: this.#epoch, fence: this.#fence, times: this.#times, rows: this.#rows.mark };
  }

  /** Rows of each step in order. */
  get stepRows(): readonly number[] {
    return this.#rows.stepRows;
  }

  /** Its reader is so far behind that it waits for it. */
  get isHeldBack(): boolean {
    return this.#output.isHeldBack;
  }

  /** Its first positions are there already. Before `run` only. */
  startWith(cachedTokens: number, notes: ClassNotes): void {
    this.#rows.startWith(cachedTokens, notes);
  }

  /** Its steps shall be these, as far as they go. Before `run` only. */
  arrange(steps: readonly ReplayStep[]): void {
    this.#rows.arrange(steps);
  }

  /**
   * Its stages are others, or have lost what they held of it: it stands still until `run`, and then sends all its tokens
   * again. Nothing of it may be under way.
   *
   * @param place in its own slot
   * @param steps for the positions that have notes
   */
  reopen({ epoch, stages }: Pick<SessionPlace, "epoch" | "stages">, steps: readonly ReplayStep[]): void {
    this.#running = false;
    this.#epoch = epoch;
    this.#fence += 1;
    this.#times = new SessionTimes(stages);
    this.#rows.restart(steps);
  }

  /** Goes back to stages that it was about to leave, as it was there. It stands still until `run`. */
  goBack({ epoch, times, rows }: SessionMark): void {
    this.#epoch = epoch;
    // Later than anything that was tried meanwhile: its stages take that for a new attempt at the same future.
    this.#fence += 1;
    this.#times = times;
    this.#rows.goBack(rows);
  }

  /** Nothing more of it leaves, until `run`. */
  pause(): void {
    this.#running = false;
  }

  /** It runs on the stages of this epoch. */
  isOpenOn(epoch: number): boolean {
    return this.#running && this.#epoch === epoch;
  }

  /** Its stages are gone. */
  interrupt(): void {
    this.#running = false;
    const progress = this.tokens.length + this.#rows.mostAnswered;
    this.#fruitless = progress > this.#progress ? 0 : this.#fruitless + 1;
    this.#progress = progress;
  }

  /**
   * Takes up what was generated before. Before `run` only; its stages hold nothing of it.
   *
   * @throws ILLEGAL_STATE when that was the end of it
   */
  resume({ generatedTokenIds, notes }: SessionHistory): void {
    const { length } = generatedTokenIds;
    const isFull = length >= this.request.maxTokens || this.promptTokens + length >= this.#limits.contextTokens;
    if (this.#output.prime(generatedTokenIds) || isFull) {
      throw new NoodleError("ILLEGAL_STATE", `session ${this.id} has ended with its ${length} tokens`);
    }
    this.tokens.push(...generatedTokenIds);
    this.#rows.resumeFrom(notes);
  }

  /** Every stage has opened it: its steps may leave. */
  run(): void {
    this.#running = true;
  }

  /** Rows whose tokens are known and not sent; 0 when it must not go on. */
  get waitingRows(): number {
    const held = !this.#running || this.isOver || this.isHeldBack;
    return held ? 0 : this.tokens.length - this.#rows.sent;
  }

  /** Log-probabilities of its prompt are wanted and were not told yet: every row is an output. */
  get readsLogprobs(): boolean {
    return this.generatedTokens === 0 && (this.request.promptLogprobs ?? null) !== null;
  }

  /** The session as the scheduler sees it. */
  waiting(): WaitingSession {
    const { prefillRows, priority } = this.request;
    const allOutputs = this.readsLogprobs;
    const most = allOutputs ? Math.min(prefillRows ?? this.#limits.maxOutputRows, this.#limits.maxOutputRows) : null;
    return {
      id: this.id,
      slot: this.slot,
      client: this.client,
      priority: priority ?? 0,
      position: this.#rows.sent,
      waitingRows: this.waitingRows,
      // What is computed again is read like a prompt, the tokens that were generated among it.
      promptRows: Math.max(this.promptTokens, this.#rows.noted),
      allOutputs,
      maxRows: most ?? prefillRows ?? null,
      readySince: this.readySince,
      arranged: this.#rows.arranged,
    };
  }

  /** What a frame's run says of log-probabilities, and of the token behind it. */
  describeOutput(run: ScheduledRun): { readonly topLogprobs: number | null; readonly following: number | null } {
    if (run.output === "none") return { topLogprobs: null, following: null };
    const { topLogprobs = null, promptLogprobs = null } = this.request;
    const end = run.position + run.rows;
    const inPrompt = run.position < this.promptTokens;
    const wanted = inPrompt && promptLogprobs !== null ? Math.max(promptLogprobs, topLogprobs ?? 0) : topLogprobs;
    return { topLogprobs: wanted, following: this.tokens[end] ?? null };
  }

  /** Notes that a step left. @returns i32[rows], the tokens of its rows */
  send(run: ScheduledRun, place: CallPlace): Int32Array {
    this.#rows.send(run, place);
    return Int32Array.from(this.tokens.slice(run.position, run.position + run.rows));
  }

  /** Every stage has computed the rows up to here. */
  answer(endPosition: number): void {
    this.#rows.answer(endPosition);
    if (this.answeredRows >= this.promptTokens) this.#tellRead();
  }

  /** Log-probability of the token at `position`; comes before the token itself where that is sampled. */
  receiveLogprobs(position: number, logprobs: TokenLogprobs): void {
    if (!this.isOver) this.#output.receiveLogprobs(position, logprobs);
  }

  /**
   * Takes the token sampled for `position`.
   *
   * @throws STEP_OUT_OF_ORDER when it is not the position that comes next
   */
  receive(position: number, step: SampledStep): void {
    if (this.isOver) return;
    if (position !== this.tokens.length || position !== this.#rows.sent) {
      throw new NoodleError(
        "STEP_OUT_OF_ORDER",
        `a token came for position ${position}, session ${this.id} expects ${this.tokens.length}`,
      );
    }
    const { maxTokens } = this.request;
    if (this.readsLogprobs) this.#output.tellPrompt();
    if (maxTokens === 0) {
      this.#fate.finish("length");
      return;
    }
    this.#firstTokenMs ??= step.receivedMs;
    this.#lastTokenMs = step.receivedMs;
    this.tokens.push(step.tokenId);
    const isFull = this.generatedTokens >= maxTokens || this.tokens.length >= this.#limits.contextTokens;
    const calls = this.request.tellCalls === true ? this.#rows.takeFresh() : undefined;
    if (this.#output.tellToken(position, step, isFull, calls)) this.#fate.finish("stop");
    else if (isFull) this.#fate.finish("length");
  }

  /** Ends it with an error. Only the first end counts. */
  fail(error: NoodleError): void {
    this.#fate.fail(error);
    this.#tellRead();
  }
}
