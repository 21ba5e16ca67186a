import type {
  ClusterObserver,
  HookLevel,
  LayerRecord,
  ObserveLevel,
  Phase,
  StageStepRecord,
} from "../../observe/index.ts";
import { type FrameObserve, readSessionId, type StepResult } from "../../protocol/index.ts";
import type { ReadObservation } from "./observation-reader.ts";

/** What the scheduler knows of a step when it leaves. */
export interface StepFacts {
  readonly requestIds: readonly string[];
  readonly phase: Phase;
  readonly rows: number;
  /** Largest context among its runs, the rows themselves included. */
  readonly contextTokens: number;
  /** Level that one of its requests asked for on all its steps. */
  readonly asked: HookLevel | null;
}

/** Which steps are looked into without having been asked for. */
export interface Sampling {
  /** Every so many steps; 0 = none. */
  readonly every: number;
  readonly level: HookLevel;
}

interface SentStep extends StepFacts {
  readonly level: ObserveLevel;
  readonly sentMonoNs: number;
  /** Sent to be seen once more, behind one that only taught a stage its graph. */
  readonly again: boolean;
  /** What the stages have told of its inside, by stage; null where they were not asked. */
  readonly told: Map<number, LayerRecord> | null;
}

export interface StepRecorderOptions {
  readonly epoch: number;
  /** Node of each stage, in order. */
  readonly nodeIds: readonly string[];
  readonly observer: ClusterObserver;
  readonly sampling: Sampling;
  readonly nowNs: () => number;
}

/** Observed steps that the stages may still tell of; older ones are forgotten. */
const KEPT_OBSERVED = 256;

/**
 * Makes the records of one pipeline's steps. It decides which steps are looked into: by their number, so that all stages
 * look into the same ones. The first sample of a kind of graph only teaches a stage that graph, so that the next step of
 * the same phase is sampled too.
 */
export class StepRecorder {
  readonly #options: StepRecorderOptions;
  readonly #unanswered = new Map<number, SentStep>();
  readonly #observed = new Map<number, SentStep>();
  #again: Phase | null = null;

  constructor(options: StepRecorderOptions) {
    this.#options = options;
  }

  /** Notes a step that leaves now. @returns how closely the stages shall look at it */
  send(stepId: number, facts: StepFacts): FrameObserve {
    const { observer, nowNs } = this.#options;
    const again = this.#again === facts.phase;
    const observe = observer.onLayer === undefined ? "off" : (facts.asked ?? this.#sample(stepId, again));
    if (again) this.#again = null;
    const step: SentStep = {
      ...facts,
      level: observe === "off" ? "step" : observe,
      sentMonoNs: nowNs(),
      again,
      told: observe === "off" ? null : new Map(),
    };
    this.#unanswered.set(stepId, step);
    if (observe !== "off") {
      this.#observed.set(stepId, step);
      const [oldest] = this.#observed.keys();
      if (this.#observed.size > KEPT_OBSERVED && oldest !== undefined) this.#observed.delete(oldest);
    }
    return observe;
  }

  /**
   * The last stage has answered the step.
   *
   * @param receivedMonoNs when the answer came
   * @param firstHopNs estimate of the way to the first stage; null while unknown
   */
  receive(
    result: Pick<StepResult, "timings" | "tokens">,
    stepId: number,
    receivedMonoNs: number,
    firstHopNs: number | null,
  ): void {
    const step = this.#unanswered.get(stepId);
    if (step === undefined) return;
    this.#unanswered.delete(stepId);
    const { observer, epoch, nodeIds } = this.#options;
    const byStage = new Map(result.timings.map((timing) => [timing.stage, timing]));
    const stages = nodeIds.flatMap((nodeId, stage): StageStepRecord[] => {
      const timing = byStage.get(stage);
      if (timing === undefined) return [];
      const hopNs = readNs(timing.hopNs);
      return [
        {
          stage,
          nodeId,
          queueNs: readNs(timing.queueNs),
          computeNs: readNs(timing.computeNs),
          serializeNs: readNs(timing.serializeNs),
          hopNs: stage === 0 ? firstHopNs : hopNs === 0 ? null : hopNs,
          bytesIn: timing.bytesIn,
        },
      ];
    });
    const { requestIds, phase, rows, contextTokens, sentMonoNs, level } = step;
    observer.onStep?.({
      stepId,
      epoch,
      requestIds,
      phase,
      rows,
      contextTokens,
      sentMonoNs,
      receivedMonoNs,
      sampledRequestIds: result.tokens.map((token) => readSessionId(token.sessionId)),
      stages,
      level,
    });
    // An early stage tells of its inside while the step is still under way: observers hear of it behind the step.
    for (const record of step.told?.values() ?? []) observer.onLayer?.(record);
  }

  /** The step will not be answered. */
  fail(stepId: number): void {
    this.#unanswered.delete(stepId);
    this.#observed.delete(stepId);
  }

  /**
   * Takes what a stage saw inside a step, and tells it when the step has been answered.
   *
   * @returns false when the step, the stage or the level is not one that was asked: nothing of it is believed
   */
  observe(nodeId: string, seen: ReadObservation): boolean {
    const { epoch, nodeIds, observer } = this.#options;
    const step = this.#observed.get(seen.stepId);
    if (step === undefined || step.told === null || seen.epoch !== epoch || nodeIds[seen.stage] !== nodeId)
      return false;
    if (seen.level !== step.level || seen.rows > step.rows || step.told.has(seen.stage)) return false;
    if (seen.learning && step.asked === null && !step.again) this.#again = step.phase;
    const record: LayerRecord = {
      stepId: seen.stepId,
      epoch,
      requestIds: step.requestIds,
      stage: seen.stage,
      nodeId,
      phase: step.phase,
      rows: seen.rows,
      contextTokens: step.contextTokens,
      level: seen.level,
      segments: seen.segments,
      stepNs: seen.stepNs,
      hookNs: seen.hookNs,
      arrivalNodeNs: seen.arrivalNs,
      computeStartNodeNs: seen.computeStartNs,
      computeEndNodeNs: seen.computeEndNs,
      sentNodeNs: seen.sentNs,
    };
    step.told.set(seen.stage, record);
    if (step.told.size === nodeIds.length) this.#observed.delete(seen.stepId);
    if (!this.#unanswered.has(seen.stepId)) observer.onLayer?.(record);
    return true;
  }

  #sample(stepId: number, again: boolean): FrameObserve {
    const { every, level } = this.#options.sampling;
    return every > 0 && (again || stepId % every === 0) ? level : "off";
  }
}

/** What a peer says of a time may be any 64 bits. */
function readNs(value: bigint): number {
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
}
