import type { NoodleError } from "../common/index.ts";
import type { ClusterObserver, EventRecord, NodeRecord } from "../observe/index.ts";
import { describeRecovery, readRecovery } from "./recovery.ts";

export interface ClusterNewsOptions {
  /** What stands before each sentence, where several clusters are told of. */
  readonly prefix?: string;
  readonly say: (sentence: string) => void;
  /** Monotonic. */
  readonly nowMs: () => number;
}

/** More workers than that are forgotten, the longest silent first. */
const MAX_NODES = 1024;

/** Events that are said as they are worded; `plan.broken` would only repeat the loss. */
const WORDED: ReadonlySet<string> = new Set([
  "worker.restarting",
  "stage.restarting",
  "stage.failed",
  "replan.switched",
  "replan.refused",
  "session.not_moved",
]);

/** Tells people what becomes of a cluster that serves: who is lost, who is back, and that streams go on. */
export class ClusterNews implements ClusterObserver {
  readonly #options: ClusterNewsOptions;
  readonly #names = new Map<string, string>();
  /** When each worker was lost that is not back. */
  readonly #lostMs = new Map<string, number>();
  #serves = false;

  constructor(options: ClusterNewsOptions) {
    this.#options = options;
  }

  /** From now on: what comes before belongs to the start, which others tell of. */
  begin(): void {
    this.#serves = true;
  }

  /** What comes from now on belongs to the end. */
  end(): void {
    this.#serves = false;
  }

  onNode({ nodeId, name }: NodeRecord): void {
    this.#names.delete(nodeId);
    this.#names.set(nodeId, name);
    const [oldest] = this.#names.keys();
    if (this.#names.size <= MAX_NODES || oldest === undefined) return;
    this.#names.delete(oldest);
    this.#lostMs.delete(oldest);
  }

  onEvent(event: EventRecord): void {
    if (!this.#serves) return;
    const sentence = this.#word(event);
    if (sentence !== null) this.#options.say(`${this.#options.prefix ?? ""}${sentence}`);
  }

  #word(event: EventRecord): string | null {
    const { name, nodeId, message } = event;
    const recovery = readRecovery(event);
    if (recovery !== null) return describeRecovery(recovery, this.#names.get(nodeId ?? "") ?? null);
    if (nodeId !== null && name === "worker.lost") {
      this.#lostMs.set(nodeId, this.#options.nowMs());
      return message;
    }
    if (nodeId !== null && name === "worker.joined") {
      const lostMs = this.#lostMs.get(nodeId);
      this.#lostMs.delete(nodeId);
      if (lostMs === undefined) return message;
      return `${this.#names.get(nodeId) ?? nodeId} is back after ${((this.#options.nowMs() - lostMs) / 1000).toFixed(1)} s`;
    }
    return WORDED.has(name) ? message : null;
  }
}

/** The event, and so the sentence, of a worker process that died and is started again. */
export function makeRestartEvent({ details }: NoodleError, waitMs: number): EventRecord {
  const read = (key: string): string | null => {
    const value = details[key];
    return typeof value === "string" || typeof value === "number" ? `${value}` : null;
  };
  const [worker, code, signal] = [read("nodeId"), read("exitCode"), read("signal")];
  const how = signal === null ? `with exit code ${code ?? "unknown"}` : `by ${signal}`;
  // Whoever is killed has not spoken of it.
  const lines: readonly unknown[] = Array.isArray(details["lastLines"]) && signal === null ? details["lastLines"] : [];
  const last = lines.at(-1);
  const words = typeof last === "string" ? `, its last words: ${last}` : "";
  return {
    name: "worker.restarting",
    severity: "warning",
    nodeId: null,
    message: `${worker ?? "a worker"} ended ${how}${words}; it is started again in ${(waitMs / 1000).toFixed(2)} s`,
    details: { worker, exit_code: code === null ? null : Number(code), signal, wait_ms: waitMs },
  };
}
