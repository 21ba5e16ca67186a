import { randomUUID } from "node:crypto";
import { NoodleError } from "../common/index.ts";
import { type ApiAnswer, type ApiClient, isObject } from "./api-client.ts";
import type { BatchEntry, BatchReader, BatchRequest } from "./batch-input.ts";
import { type BatchOutput, type BatchRecord, isFailed } from "./batch-output.ts";

export interface BatchRun {
  readonly client: ApiClient;
  readonly reader: BatchReader;
  readonly output: BatchOutput;
  /** What has no line in the output yet. */
  readonly pending: readonly BatchEntry[];
  /** Requests at once. */
  readonly concurrency: number;
  /** How long one request may be put off by 429, 503 or a connection that fails, until the batch gives up. */
  readonly patienceMs: number;
  readonly onProgress: (totals: BatchTotals) => void;
  readonly nowMs: () => number;
  /** Ends early when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** What this run has done. */
export interface BatchTotals {
  readonly answered: number;
  /** Of those, the ones without status 200. */
  readonly failed: number;
  /** Of the failed, lines that are no request. */
  readonly malformed: number;
  readonly retries: number;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 30_000;
/** A failure of the server itself is tried again this often before it is an answer. */
const FAILURE_TRIES = 3;
const PUT_OFF = new Set([429, 503]);
const FAILURES = new Set([500, 502]);

/**
 * Sends what is pending, several at once, and writes a line for each that is answered. A request that is under way when
 * this ends, however it ends, has no line and is sent again by the next run.
 *
 * @throws NoodleError what made the batch impossible: PEER_UNREACHABLE, QUEUE_FULL, CLUSTER_NOT_READY, DISK_FULL ...; the
 * reason of `signal`
 */
export async function runBatch(run: BatchRun, signal: AbortSignal): Promise<BatchTotals> {
  const totals = { answered: 0, failed: 0, malformed: 0, retries: 0, promptTokens: 0, completionTokens: 0 };
  const failure = new AbortController();
  const stop = AbortSignal.any([signal, failure.signal]);
  const queue = run.pending.values();
  const write = (record: BatchRecord): void => {
    run.output.append(record);
    totals.answered += 1;
    if (isFailed(record)) totals.failed += 1;
    const usage = readUsage(record);
    totals.promptTokens += usage.prompt;
    totals.completionTokens += usage.completion;
    run.onProgress(totals);
  };
  const noteRetry = (): void => {
    totals.retries += 1;
  };
  const work = async (): Promise<void> => {
    for (const entry of queue) {
      stop.throwIfAborted();
      if (entry.problem !== null) {
        totals.malformed += 1;
        write(describeProblem(entry, entry.problem));
        continue;
      }
      const request = await run.reader.read(entry);
      const answer = await new Sending(run, noteRetry).send(request, stop);
      write(describeAnswer(request, answer));
    }
  };
  const workers = Array.from({ length: run.concurrency }, () => work().catch((error: unknown) => failure.abort(error)));
  await Promise.all(workers);
  stop.throwIfAborted();
  return totals;
}

/** One request, with all the times that it is sent. */
class Sending {
  readonly #run: BatchRun;
  readonly #noteRetry: () => void;
  readonly #startMs: number;
  #pauseMs = FIRST_PAUSE_MS;
  #failures = 0;

  constructor(run: BatchRun, noteRetry: () => void) {
    this.#run = run;
    this.#noteRetry = noteRetry;
    this.#startMs = run.nowMs();
  }

  async send(request: BatchRequest, signal: AbortSignal): Promise<ApiAnswer> {
    for (;;) {
      const answer = await this.#try(request, signal);
      const isFailure = !(answer instanceof NoodleError) && FAILURES.has(answer.status);
      if (!(answer instanceof NoodleError) && !isFailure && !PUT_OFF.has(answer.status)) return answer;
      if (isFailure) {
        this.#failures += 1;
        if (this.#failures >= FAILURE_TRIES) return answer;
      }
      await this.#pause(answer, signal);
      this.#noteRetry();
    }
  }

  async #try(request: BatchRequest, signal: AbortSignal): Promise<ApiAnswer | NoodleError> {
    try {
      return await this.#run.client.call("POST", request.path, request.body, signal);
    } catch (error) {
      if (!signal.aborted && error instanceof NoodleError && error.code === "PEER_UNREACHABLE") return error;
      throw error;
    }
  }

  /** @throws the error of the last answer when patience is over */
  async #pause(answer: ApiAnswer | NoodleError, signal: AbortSignal): Promise<void> {
    const { nowMs, patienceMs, sleep, client } = this.#run;
    const wantedMs = answer instanceof NoodleError ? null : answer.retryAfterMs;
    // What the server asks for is kept, but not for hours.
    const pauseMs = Math.min(wantedMs ?? this.#pauseMs, Math.max(LONGEST_PAUSE_MS, patienceMs));
    this.#pauseMs = Math.min(LONGEST_PAUSE_MS, this.#pauseMs * 2);
    if (nowMs() - this.#startMs + pauseMs > patienceMs) throw describeEnd(answer, client.host, patienceMs);
    await sleep(pauseMs, signal);
    signal.throwIfAborted();
  }
}

function describeEnd(answer: ApiAnswer | NoodleError, host: string, patienceMs: number): NoodleError {
  const often = `a request was put off for ${Math.round(patienceMs / 1000)} s (--retry-for)`;
  if (answer instanceof NoodleError) return new NoodleError(answer.code, `${answer.message}; ${often}`);
  const code = answer.status === 429 ? "QUEUE_FULL" : "CLUSTER_NOT_READY";
  return new NoodleError(code, `${host} answers with status ${answer.status}; ${often}`);
}

function describeAnswer({ customId }: BatchRequest, { status, requestId, body }: ApiAnswer): BatchRecord {
  const response = { status_code: status, request_id: requestId, body };
  return { id: nameRecord(), custom_id: customId, response, error: null };
}

function describeProblem({ customId, line }: BatchEntry, message: string): BatchRecord {
  return { id: nameRecord(), custom_id: customId, response: null, error: { code: "REQUEST_INVALID", message, line } };
}

function nameRecord(): string {
  return `batch_req_${randomUUID().replaceAll("-", "")}`;
}

function readUsage({ response }: BatchRecord): { readonly prompt: number; readonly completion: number } {
  const body = response?.body;
  const usage = isObject(body) && isObject(body["usage"]) ? body["usage"] : {};
  const read = (name: string): number => (typeof usage[name] === "number" ? usage[name] : 0);
  return { prompt: read("prompt_tokens"), completion: read("completion_tokens") };
}
