import type { NoodleError } from "../../common/index.ts";
import { GREEDY } from "../../engine/index.ts";
import type { ClusterObserver } from "../../observe/index.ts";
import type { Session } from "./session.ts";

interface RequestTimes {
  readonly startMonoNs: number;
  firstStepMonoNs: number | null;
  firstTokenMonoNs: number | null;
  lastTokenMonoNs: number;
  readonly interTokenNs: number[];
}

/** Makes the records of requests, from the admission to the end. */
export class RequestRecorder {
  readonly #observer: ClusterObserver;
  readonly #nowNs: () => number;
  readonly #withPrompts: boolean;
  readonly #times = new Map<string, RequestTimes>();

  /** @param withPrompts puts the prompts' texts into the records */
  constructor(observer: ClusterObserver, nowNs: () => number, withPrompts: boolean) {
    this.#observer = observer;
    this.#nowNs = nowNs;
    this.#withPrompts = withPrompts;
  }

  /** It has its slot. @param queuedMs since it was called for */
  start(session: Session, queuedMs: number): void {
    const monoNs = this.#nowNs();
    this.#times.set(session.id, {
      startMonoNs: monoNs - Math.round(queuedMs * 1e6),
      firstStepMonoNs: null,
      firstTokenMonoNs: null,
      lastTokenMonoNs: monoNs,
      interTokenNs: [],
    });
    const { prompt, maxTokens } = session.request;
    this.#observer.onRequest?.({
      type: "start",
      requestId: session.id,
      monoNs,
      promptTokens: session.promptTokens,
      maxTokens,
      prompt: this.#withPrompts && typeof prompt === "string" ? prompt : null,
    });
  }

  /** A step of it leaves. */
  sendStep(session: Session): void {
    const times = this.#times.get(session.id);
    if (times !== undefined) times.firstStepMonoNs ??= this.#nowNs();
  }

  /** It got a token. */
  receiveToken(session: Session): void {
    const times = this.#times.get(session.id);
    if (times === undefined) return;
    const nowNs = this.#nowNs();
    if (times.firstTokenMonoNs === null) times.firstTokenMonoNs = nowNs;
    else times.interTokenNs.push(nowNs - times.lastTokenMonoNs);
    times.lastTokenMonoNs = nowNs;
  }

  /** It is over for its reader; only the first call counts. */
  end(session: Session, error: NoodleError | null): void {
    const times = this.#times.get(session.id);
    if (times === undefined) return;
    this.#times.delete(session.id);
    const { maxTokens, sampling = GREEDY } = session.request;
    const { interTokenNs, startMonoNs, firstStepMonoNs, firstTokenMonoNs } = times;
    // A reader that goes away in the middle ends the request without an error of its own.
    const errorCode = error?.code ?? (session.finishReason === null ? "INTERRUPTED" : null);
    this.#observer.onRequest?.({
      type: "end",
      requestId: session.id,
      monoNs: this.#nowNs(),
      startMonoNs,
      firstStepMonoNs,
      firstTokenMonoNs,
      promptTokens: session.promptTokens,
      generatedTokens: session.generatedTokens,
      interTokenNs,
      finishReason: errorCode === null ? session.finishReason : null,
      errorCode,
      temperature: sampling.temperature,
      seed: sampling.seed,
      maxTokens,
    });
  }
}
