import { must, NoodleError } from "../../common/index.ts";
import type { SessionId } from "../../protocol/index.ts";
import {
  type ArrangedStep,
  type CallPlace,
  type ClassNotes,
  ClassNotesBuilder,
  type ReplayStep,
  type ScheduledRun,
  type WaitingSession,
} from "../../schedule/index.ts";
import type { EventQueue } from "./event-queue.ts";
import type { FinishReason, GenerateEvent, TokenLogprobs } from "./generate-event.ts";
import type { GenerateRequest } from "./generate-request.ts";
import { SessionTimes } from "./stage-samples.ts";
import { TokenText } from "./token-text.ts";
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

/** What the last stage says of a position. */
export interface SampledStep {
  readonly tokenId: number;
  /** f32[nVocab] or null when not asked for. */
  readonly logits: Float32Array | null;
  readonly receivedMs: number;
}

/** A reader this many events behind holds its own session back, so that what waits for it stays small. */
const MAX_UNREAD = 1024;
/** The same where each event carries logits. */
const MAX_UNREAD_LOGITS = 64;

/**
 * A running generation: the token history, what of it was sent, and what comes back. No I/O; the session runner moves
 * its steps, and its reader takes what it puts into `output`.
 */
export class Session {
  readonly id: SessionId;
  readonly slot: number;
  readonly fence = 1;
  readonly epoch: number;
  readonly request: GenerateRequest;
  readonly client: string;
  /** Prompt, then every sampled token. */
  readonly tokens: number[];
  readonly promptTokens: number;
  /** Its id alone, for the records of its steps. */
  readonly requestIds: readonly string[];
  /** Rows of each step in order. */
  readonly stepRows: number[] = [];
  readonly times: SessionTimes;
  /** Resolves when every stage has computed the prompt, or when the session is over. */
  readonly promptRead: Promise<void>;
  /** When it could be served last, in the runner's count. */
  readySince = 0;
  /** Steps under way. */
  stepsInFlight = 0;
  readonly #limits: SessionLimits;
  readonly #output: EventQueue<GenerateEvent>;
  readonly #text: TokenText;
  readonly #abort = new AbortController();
  readonly #promptLogprobs: TokenLogprobs[] = [];
  #tokenLogprobs: { readonly position: number; readonly logprobs: TokenLogprobs } | null = null;
  #notes = new ClassNotesBuilder();
  #replay: readonly ReplayStep[] = [];
  #replayed = 0;
  #running = false;
  #failure: NoodleError | undefined;
  #sentRows = 0;
  #answeredRows = 0;
  #cachedTokens = 0;
  #finish: FinishReason | null = null;
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
    this.epoch = place.epoch;
    this.request = request;
    this.client = request.client ?? "";
    this.tokens = [...promptTokenIds];
    this.promptTokens = promptTokenIds.length;
    this.requestIds = [place.id];
    this.times = new SessionTimes(place.stages);
    this.#limits = limits;
    this.#output = output;
    this.promptRead = new Promise((resolve) => {
      this.#tellRead = resolve;
    });
    this.#text = new TokenText(tokenizer, request.stop ?? [], request.ignoreEos === true);
  }

  /** Null while it runs, or has failed. */
  get finishReason(): FinishReason | null {
    return this.#finish;
  }

  /** The stop text that ended it. */
  get stopText(): string | null {
    return this.#text.stopText;
  }

  /** Finished or failed: nothing of it is sent any more. */
  get isOver(): boolean {
    return this.#finish !== null || this.#failure !== undefined;
  }

  /** Aborted when it is over, one way or the other. */
  get over(): AbortSignal {
    return this.#abort.signal;
  }

  /** What it failed with; undefined while it did not. */
  get failure(): NoodleError | undefined {
    return this.#failure;
  }

  get generatedTokens(): number {
    return this.tokens.length - this.promptTokens;
  }

  /** Prompt tokens that it did not have to compute. */
  get cachedTokens(): number {
    return this.#cachedTokens;
  }

  /** Positions that every stage has computed. */
  get answeredRows(): number {
    return this.#answeredRows;
  }

  /** Every row that was sent has been computed by every stage. */
  get isSettled(): boolean {
    return this.#answeredRows === this.#sentRows;
  }

  get firstTokenMs(): number | null {
    return this.#firstTokenMs;
  }

  get lastTokenMs(): number | null {
    return this.#lastTokenMs;
  }

  get notes(): ClassNotes {
    return this.#notes.build();
  }

  /** Its reader is so far behind that it waits for it. */
  get isHeldBack(): boolean {
    return this.#output.size >= (this.request.wantLogits === true ? MAX_UNREAD_LOGITS : MAX_UNREAD);
  }

  get isArranged(): boolean {
    return this.#replayed < this.#replay.length;
  }

  /** Its first positions are there already. Before `run` only. */
  startWith(cachedTokens: number, notes: ClassNotes): void {
    this.#cachedTokens = cachedTokens;
    this.#sentRows = cachedTokens;
    this.#answeredRows = cachedTokens;
    this.#notes = new ClassNotesBuilder(notes);
  }

  /** Its steps shall be these, as far as they go. Before `run` only. */
  arrange(steps: readonly ReplayStep[]): void {
    this.#replay = steps;
  }

  /** Every stage has opened it: its steps may leave. */
  run(): void {
    this.#running = true;
  }

  /** Rows whose tokens are known and not sent; 0 when it must not go on. */
  get waitingRows(): number {
    const held = !this.#running || this.isOver || this.isHeldBack;
    return held ? 0 : this.tokens.length - this.#sentRows;
  }

  /** The session as the scheduler sees it. */
  waiting(): WaitingSession {
    const { promptLogprobs, prefillRows, priority } = this.request;
    const allOutputs = isWanted(promptLogprobs);
    const most = allOutputs ? Math.min(prefillRows ?? this.#limits.maxOutputRows, this.#limits.maxOutputRows) : null;
    return {
      id: this.id,
      slot: this.slot,
      client: this.client,
      priority: priority ?? 0,
      position: this.#sentRows,
      waitingRows: this.waitingRows,
      promptRows: this.promptTokens,
      allOutputs,
      maxRows: most ?? prefillRows ?? null,
      readySince: this.readySince,
      arranged: this.#nextArranged(),
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
    const { position, rows } = run;
    if (position !== this.#sentRows) {
      throw new NoodleError("ILLEGAL_STATE", `step at position ${position}, the session sent ${this.#sentRows}`);
    }
    this.#sentRows += rows;
    this.stepRows.push(rows);
    this.#notes.add(position, rows, place);
    if (this.isArranged) this.#replayed += 1;
    return Int32Array.from(this.tokens.slice(position, position + rows));
  }

  /** Every stage has computed the rows up to here. */
  answer(endPosition: number): void {
    this.#answeredRows = Math.max(this.#answeredRows, endPosition);
    if (this.#answeredRows >= this.promptTokens) this.#tellRead();
  }

  /** Log-probability of the token at `position`; comes before the token itself where that is sampled. */
  receiveLogprobs(position: number, logprobs: TokenLogprobs): void {
    if (this.isOver) return;
    if (position < this.promptTokens)
      this.#promptLogprobs[position - 1] = cutTop(logprobs, this.request.promptLogprobs);
    else this.#tokenLogprobs = { position, logprobs: cutTop(logprobs, this.request.topLogprobs) };
  }

  /**
   * Takes the token sampled for `position`.
   *
   * @throws STEP_OUT_OF_ORDER when it is not the position that comes next
   */
  receive(position: number, step: SampledStep): void {
    if (this.isOver) return;
    if (position !== this.tokens.length || position !== this.#sentRows) {
      throw new NoodleError(
        "STEP_OUT_OF_ORDER",
        `a token came for position ${position}, session ${this.id} expects ${this.tokens.length}`,
      );
    }
    const { maxTokens, promptLogprobs, topLogprobs } = this.request;
    if (this.generatedTokens === 0 && isWanted(promptLogprobs)) this.#tellPrompt();
    if (maxTokens === 0) {
      this.#end("length");
      return;
    }
    const index = this.generatedTokens;
    this.#firstTokenMs ??= step.receivedMs;
    this.#lastTokenMs = step.receivedMs;
    this.tokens.push(step.tokenId);
    const isFull = this.generatedTokens >= maxTokens || this.tokens.length >= this.#limits.contextTokens;
    const { text, ends } = this.#text.push(step.tokenId, isFull);
    const logprobs =
      isWanted(topLogprobs) && this.#tokenLogprobs?.position === position ? this.#tokenLogprobs.logprobs : null;
    this.#output.push({ type: "token", index, tokenId: step.tokenId, text, logits: step.logits, logprobs });
    if (ends) this.#end("stop");
    else if (isFull) this.#end("length");
  }

  /** Ends it with an error. Only the first end counts. */
  fail(error: NoodleError): void {
    if (this.isOver) return;
    this.#failure = error;
    this.#tellRead();
    this.#abort.abort(error);
  }

  #nextArranged(): ArrangedStep | null {
    const next = this.#replay[this.#replayed];
    return next === undefined || next.position !== this.#sentRows ? null : next;
  }

  #tellPrompt(): void {
    const logprobs = Array.from({ length: this.promptTokens - 1 }, (_, index) =>
      must(this.#promptLogprobs[index], `log-probability of prompt token ${index + 1}`),
    );
    this.#output.push({ type: "prompt", logprobs });
  }

  #end(reason: FinishReason): void {
    this.#finish = reason;
    this.#abort.abort();
  }
}

function isWanted(count: number | null | undefined): boolean {
  return count !== null && count !== undefined;
}

function cutTop(logprobs: TokenLogprobs, count: number | null | undefined): TokenLogprobs {
  return logprobs.top.length <= (count ?? 0) ? logprobs : { ...logprobs, top: logprobs.top.slice(0, count ?? 0) };
}
