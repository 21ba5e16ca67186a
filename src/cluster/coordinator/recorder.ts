import type { NoodleError } from "../../common/index.ts";
import type { ClusterObserver, EventRecord, LinkRecord, ModelRecord } from "../../observe/index.ts";
import type { Observation } from "../../protocol/index.ts";
import type { ClusterState, Fault, Plan } from "../state/index.ts";
import { monotonicNs } from "./clock.ts";
import { readObservation } from "./observation-reader.ts";
import { type CombinedObserver, combineObservers } from "./observers.ts";
import { describeReplanning } from "./replan-records.ts";
import { RequestRecorder } from "./request-recorder.ts";
import { describeChanges, describeNode, makeEvent } from "./state-records.ts";
import { type Sampling, StepRecorder } from "./step-recorder.ts";

/** Nodes are told again this often, changed or not. */
const NODES_INTERVAL_MS = 5000;

const PIPELINES_AT_ONCE = 2;

export interface RecorderOptions {
  readonly observer: ClusterObserver;
  readonly sampling: Sampling;
  readonly withPrompts: boolean;
  readonly model: ModelRecord;
}

/** What came of looking into steps, since the start. */
export interface ObservationCounts {
  readonly taken: number;
  /** By the coordinator: they fit no step, or make no sense. */
  readonly refused: number;
  /** By the workers, which never let a step wait for them. */
  readonly dropped: number;
}

/** Tells one observer all that goes on; there is none where nobody observes. */
export class Recorder {
  readonly requests: RequestRecorder;
  readonly #observer: CombinedObserver;
  readonly #sampling: Sampling;
  readonly #dropped = new Map<string, number>();
  /** By epoch, the newest last: one plan may still serve while another begins. */
  readonly #steps = new Map<number, { readonly recorder: StepRecorder; readonly plan: Plan }>();
  #state: ClusterState | null = null;
  #taken = 0;
  #refused = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: RecorderOptions) {
    this.#observer = combineObservers(options.observer);
    this.#sampling = options.sampling;
    this.#observer.onModel?.(options.model);
    this.requests = new RequestRecorder(this.#observer, monotonicNs, options.withPrompts);
    if (this.#observer.onNode === undefined) return;
    this.#timer = setInterval(() => this.#tellNodes(), NODES_INTERVAL_MS);
    this.#timer.unref();
  }

  get observations(): ObservationCounts {
    const dropped = [...this.#dropped.values()].reduce((sum, count) => sum + count, 0);
    return { taken: this.#taken, refused: this.#refused, dropped };
  }

  /** Calls of observers that threw. */
  get observerFailures(): number {
    return this.#observer.failures;
  }

  /** The steps of a new pipeline; observations of any but the one before are not taken any more. */
  startSteps(plan: Plan): StepRecorder {
    const [oldest] = this.#steps.keys();
    if (oldest !== undefined && this.#steps.size >= PIPELINES_AT_ONCE) this.#steps.delete(oldest);
    const recorder = new StepRecorder({
      epoch: plan.epoch,
      nodeIds: plan.stages.map(({ nodeId }) => nodeId ?? ""),
      observer: this.#observer,
      sampling: this.#sampling,
      nowNs: monotonicNs,
    });
    this.#steps.set(plan.epoch, { recorder, plan });
    return recorder;
  }

  /** Looks at a new state of the cluster. */
  follow(state: ClusterState): void {
    const nothing = { nodes: new Map(), plan: null, broken: null, next: null, former: null };
    const before = this.#state ?? { ...state, ...nothing };
    this.#state = state;
    if (before === state) return;
    const { events, nodes, plan } = describeChanges(before, state);
    for (const event of [...events, ...describeReplanning(before, state)]) this.#observer.onEvent?.(event);
    for (const node of nodes) this.#observer.onNode?.(node);
    if (plan !== null) this.#observer.onPlan?.(plan);
  }

  /** A worker tells what it saw inside a step. Never throws: what makes no sense is counted, and told once in a while. */
  observe(nodeId: string, message: Observation): void {
    if (this.#take(nodeId, message)) {
      this.#taken += 1;
      return;
    }
    this.#refused += 1;
    if (!isRound(this.#refused)) return;
    const text = `${this.#refused} observations fitted no step; the last came from ${nodeId}`;
    this.#observer.onEvent?.(makeEvent("observations.refused", "warning", nodeId, text, { count: this.#refused }));
  }

  /** A worker says how many observations it has thrown away since its start. */
  noteDropped(nodeId: string, count: number): void {
    const before = this.#dropped.get(nodeId) ?? 0;
    if (count === before) return;
    this.#dropped.set(nodeId, count);
    if (count <= before || !isRound(count, before)) return;
    const text = `${nodeId} has dropped ${count} observations rather than delay a step`;
    this.#observer.onEvent?.(makeEvent("observations.dropped", "warning", nodeId, text, { count }));
  }

  link(record: LinkRecord): void {
    this.#observer.onLink?.(record);
  }

  /** The pipeline takes steps, or takes none any more. */
  noteServing(epoch: number | null): void {
    const [name, text] = epoch === null ? ["cluster.waiting", "no steps can run"] : ["cluster.ready", "steps can run"];
    this.#observer.onEvent?.(makeEvent(name, "info", null, text, { epoch }));
  }

  noteStepFailed(requestIds: readonly string[], { code, message, nodeId }: Fault): void {
    this.#observer.onEvent?.(makeEvent("step.failed", "warning", nodeId, message, { code, requestIds }));
  }

  /** Something befell the durable state. */
  noteState(event: EventRecord): void {
    this.#observer.onEvent?.(event);
  }

  /** A request that was not admitted: it has no id and no records of its own. */
  noteRefused(error: NoodleError): void {
    this.#observer.onEvent?.(makeEvent("request.refused", "warning", null, error.message, { code: error.code }));
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  #take(nodeId: string, message: Observation): boolean {
    const known = this.#steps.get(Number(message.epoch));
    const units = known?.plan.stages[message.stage]?.units;
    if (known === undefined || units === undefined) return false;
    try {
      return known.recorder.observe(nodeId, readObservation(message, units));
    } catch {
      return false;
    }
  }

  #tellNodes(): void {
    const state = this.#state;
    for (const node of state?.nodes.values() ?? []) {
      if (state !== null && node.phase !== "lost") this.#observer.onNode?.(describeNode(state, node));
    }
  }
}

/** True for 1, 2, 4, 8, ...: or where one of them lies between, so that a flood is told in a few words. */
function isRound(count: number, before = count - 1): boolean {
  return Math.floor(Math.log2(count)) > Math.floor(Math.log2(Math.max(0.5, before)));
}
