import { NoodleError } from "../../common/index.ts";
import type { SamplingParams } from "../../engine/index.ts";
import type { HookLevel } from "../../observe/index.ts";
import type { SessionId } from "../../protocol/index.ts";
import { EventQueue } from "./event-queue.ts";
import type { Step, WaitingSession } from "./schedule.ts";
import { SampleWindow } from "./stats.ts";

/** One generation as the caller asks for it. */
export interface GenerateRequest {
  /** Text, or token ids as they are. */
  readonly prompt: string | readonly number[];
  /** 0 = run the prompt only. */
  readonly maxTokens: number;
  /** @default greedy */
  readonly sampling?: SamplingParams;
  /** Go on after an end-of-generation token. @default false */
  readonly ignoreEos?: boolean;
  /** Logits of each sampled token with it. @default false */
  readonly wantLogits?: boolean;
  /** SHA-256 of each layer's keys and values at the end. @default false */
  readonly wantKvHashes?: boolean;
  /** Rows of a prefill step. @default the coordinator's */
  readonly prefillRows?: number;
  /** Looks this closely into every step of it. @default as the coordinator samples */
  readonly observe?: HookLevel;
}

export interface SampledStep {
  readonly tokenId: number;
  /** f32[nVocab] or null when not asked for. */
  readonly logits: Float32Array | null;
  readonly receivedMs: number;
}

export type FinishReason = "stop" | "length";

export interface SessionLimits {
  readonly contextTokens: number;
  readonly prefillRows: number;
  isEndOfGeneration(tokenId: number): boolean;
}

/** A reader this far behind holds its own session back, so that what waits for it stays small. */
const MAX_UNREAD_TOKENS = 64;

/** Times of one stage in this session, in ms. */
export interface StageSamples {
  readonly computeMs: SampleWindow;
  readonly queueMs: SampleWindow;
  readonly hopMs: SampleWindow;
}

function createStageSamples(): StageSamples {
  return { computeMs: new SampleWindow(), queueMs: new SampleWindow(), hopMs: new SampleWindow() };
}

/**
 * A running generation: the token history, what of it was sent, and what comes back. No I/O; the session runner moves
 * its steps.
 */
export class Session {
  readonly id: SessionId;
  readonly slot: number;
  readonly fence = 1;
  readonly epoch: number;
  readonly request: GenerateRequest;
  /** Prompt, then every sampled token. */
  readonly tokens: number[];
  readonly promptTokens: number;
  /** Its id alone, for the records of its steps. */
  readonly requestIds: readonly string[];
  /** Tokens for the reader. */
  readonly sampled = new EventQueue<SampledStep>();
  /** Rows of each step in order. */
  readonly stepRows: number[] = [];
  readonly #limits: SessionLimits;
  readonly #decodeSamples: StageSamples[];
  readonly #prefillSamples: StageSamples[];
  readonly #abort = new AbortController();
  #running = false;
  #failure: NoodleError | undefined;
  #sentRows = 0;
  #finish: FinishReason | null = null;

  constructor(
    where: { readonly id: SessionId; readonly slot: number; readonly epoch: number; readonly stages: number },
    request: GenerateRequest,
    promptTokenIds: readonly number[],
    limits: SessionLimits,
  ) {
    this.id = where.id;
    this.slot = where.slot;
    this.epoch = where.epoch;
    this.request = request;
    this.tokens = [...promptTokenIds];
    this.promptTokens = promptTokenIds.length;
    this.requestIds = [where.id];
    this.#limits = limits;
    this.#decodeSamples = Array.from({ length: where.stages }, createStageSamples);
    this.#prefillSamples = Array.from({ length: where.stages }, createStageSamples);
  }

  /** Null while it runs. */
  get finishReason(): FinishReason | null {
    return this.#finish;
  }

  /** Aborted when the session fails. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** What it failed with; undefined while it did not. */
  get failure(): NoodleError | undefined {
    return this.#failure;
  }

  get generatedTokens(): number {
    return this.tokens.length - this.promptTokens;
  }

  /** The session as the scheduler sees it. */
  waiting(): WaitingSession {
    const held = !this.#running || this.sampled.ended || this.sampled.size >= MAX_UNREAD_TOKENS;
    return {
      id: this.id,
      position: this.#sentRows,
      waitingRows: held ? 0 : this.tokens.length - this.#sentRows,
      maxRows: this.#limits.prefillRows,
    };
  }

  /** Every stage has opened it: its steps may leave. */
  run(): void {
    this.#running = true;
  }

  /** Notes that a step left. @returns i32[rows], the tokens of its rows */
  send(step: Step): Int32Array {
    if (step.position !== this.#sentRows) {
      throw new NoodleError("ILLEGAL_STATE", `step at position ${step.position}, the session sent ${this.#sentRows}`);
    }
    this.#sentRows += step.rows;
    this.stepRows.push(step.rows);
    return Int32Array.from(this.tokens.slice(step.position, step.position + step.rows));
  }

  /**
   * Takes the token sampled for `position`.
   *
   * @throws STEP_OUT_OF_ORDER when it is not the position that comes next
   */
  receive(position: number, step: SampledStep): void {
    if (this.sampled.ended) return;
    if (position !== this.tokens.length || position !== this.#sentRows) {
      throw new NoodleError(
        "STEP_OUT_OF_ORDER",
        `a token came for position ${position}, session ${this.id} expects ${this.tokens.length}`,
      );
    }
    const { maxTokens, ignoreEos } = this.request;
    if (maxTokens === 0) {
      this.#end("length");
      return;
    }
    this.tokens.push(step.tokenId);
    this.sampled.push(step);
    if (ignoreEos !== true && this.#limits.isEndOfGeneration(step.tokenId)) this.#end("stop");
    else if (this.generatedTokens >= maxTokens || this.tokens.length >= this.#limits.contextTokens) this.#end("length");
  }

  /** Ends it with an error; the reader gets it behind the tokens that are already there. */
  fail(error: NoodleError): void {
    if (this.sampled.ended) return;
    this.#failure = error;
    this.sampled.end(error);
    this.#abort.abort(error);
  }

  /** Adds the times that one step spent at a stage. */
  addTiming(stage: number, rows: number, timing: { computeMs: number; queueMs: number; hopMs: number | null }): void {
    const samples = (rows === 1 ? this.#decodeSamples : this.#prefillSamples)[stage];
    if (samples === undefined) return;
    samples.computeMs.add(timing.computeMs);
    samples.queueMs.add(timing.queueMs);
    if (timing.hopMs !== null) samples.hopMs.add(timing.hopMs);
  }

  /** Times of steps of one row; of longer steps where there were no others. */
  samplesOf(stage: number): StageSamples | undefined {
    const decode = this.#decodeSamples[stage];
    return decode === undefined || decode.computeMs.median() === null ? this.#prefillSamples[stage] : decode;
  }

  #end(reason: FinishReason): void {
    this.#finish = reason;
    this.sampled.end();
  }
}
