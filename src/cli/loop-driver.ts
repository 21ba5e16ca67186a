import type { Coordinator, StatusDocument } from "../cluster/coordinator/index.ts";
import { NoodleError } from "../common/index.ts";
import type { Loop, LoopDecision, LoopEvent, LoopLook, LoopPlan, LoopStep } from "../loop/index.ts";
import type { ClusterObserver, EventRecord, LayerRecord, StepRecord } from "../observe/index.ts";
import { wantPlan } from "./plan-file.ts";

export interface LoopDriverOptions {
  readonly coordinator: Pick<Coordinator, "status" | "replan">;
  readonly loop: Loop;
  /** Of the plan that the loop was made for. */
  readonly epoch: number;
  /** Puts an event among the cluster's own. */
  readonly tell: (event: EventRecord) => void;
  /** Says a sentence to whoever started the cluster. */
  readonly say: (sentence: string) => void;
  /** On the clock of the steps. @default the monotonic one */
  readonly nowMs?: () => number;
}

const TICK_MS = 1000;
/** A planning that throws is said again after so long at the earliest. */
const FAILURE_MS = 60_000;

/** Feeds a loop with the steps of a cluster, and carries out what it decides. */
export class LoopDriver implements Disposable {
  readonly #options: LoopDriverOptions;
  readonly #nowMs: () => number;
  #timer: NodeJS.Timeout | null = null;
  #isDeciding = false;
  #epoch: number;
  /** Epoch of the plan that this loop asked for last. */
  #asked: number | null = null;
  #failedMs = Number.NEGATIVE_INFINITY;

  constructor(options: LoopDriverOptions) {
    this.#options = options;
    this.#epoch = options.epoch;
    this.#nowMs = options.nowMs ?? ((): number => Number(process.hrtime.bigint()) / 1e6);
  }

  /** Begins to decide, about once a second. */
  start(): void {
    this.#timer = setInterval(() => void this.tick(), TICK_MS);
    this.#timer.unref();
  }

  /** Takes a step as the cluster's observers are told of it. */
  observe(record: StepRecord): void {
    this.#options.loop.observe(readStep(record));
  }

  /** Takes the inside of a stage, where a step was looked into. */
  observeLayer(record: LayerRecord): void {
    this.#options.loop.look(readLook(record));
  }

  [Symbol.dispose](): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Looks at the plan in force and asks the loop, unless it is still being asked. Never throws. */
  async tick(): Promise<void> {
    if (this.#isDeciding) return;
    this.#isDeciding = true;
    try {
      const { coordinator, loop } = this.#options;
      const status = coordinator.status();
      this.#followPlan(status);
      // While one plan follows another, what is measured is of neither.
      if ((status.plan?.next ?? null) !== null || (status.plan?.former ?? null) !== null) return;
      const { serving, sessions } = status;
      const load = { sessions: sessions.length, waiting: serving.queued, remainingMs: null };
      for (const decision of await loop.decide(this.#nowMs(), load)) this.#carryOut(decision);
    } catch (thrown) {
      this.#takeFailure(NoodleError.from(thrown));
    } finally {
      this.#isDeciding = false;
    }
  }

  #followPlan(status: StatusDocument): void {
    const plan = readLoopPlan(status);
    if (plan === null || plan.epoch === this.#epoch) return;
    this.#epoch = plan.epoch;
    this.#options.loop.usePlan(plan, this.#nowMs(), plan.epoch === this.#asked);
  }

  #carryOut({ action, event, move }: LoopDecision): void {
    const { coordinator, tell, say } = this.#options;
    tell(writeEvent(event));
    if (action === "advise" || event.severity === "warning") say(event.sentence);
    if (action !== "move" || move === null) return;
    say(event.sentence);
    try {
      const { epoch } = coordinator.replan(wantPlan(move.plan), event.sentence);
      this.#asked = epoch;
    } catch (thrown) {
      const error = NoodleError.from(thrown);
      tell(makeWarning("loop.move_refused", `the move was not begun: ${error.message}`, error));
    }
  }

  #takeFailure(error: NoodleError): void {
    const nowMs = this.#nowMs();
    if (nowMs - this.#failedMs < FAILURE_MS) return;
    this.#failedMs = nowMs;
    this.#options.tell(makeWarning("loop.failed", `the loop could not decide: ${error.message}`, error));
  }
}

/** An observer whose driver comes later: a cluster has to be there before it can be planned. */
export class LoopFeed implements ClusterObserver {
  driver: LoopDriver | null = null;

  onStep(record: StepRecord): void {
    this.driver?.observe(record);
  }

  onLayer(record: LayerRecord): void {
    this.driver?.observeLayer(record);
  }
}

/** Positions before the step. A decode step's record has the longest of its contexts, a chunk's the end of the chunk. */
function readContext({ phase, rows, contextTokens }: Pick<StepRecord, "phase" | "rows" | "contextTokens">): number {
  return Math.max(0, contextTokens - (phase === "decode" ? 1 : rows));
}

function readLook(record: LayerRecord): LoopLook {
  const { epoch, stage, phase, rows, segments } = record;
  const units = new Map<number, number>();
  for (const { unit, durationNs } of segments) units.set(unit, (units.get(unit) ?? 0) + durationNs / 1e6);
  return {
    epoch,
    stage,
    phase,
    rows,
    context: readContext(record),
    units: [...units].map(([unit, ms]) => ({ unit, ms })),
  };
}

function readStep(record: StepRecord): LoopStep {
  const { epoch, phase, rows, receivedMonoNs, sampledRequestIds, stages } = record;
  const context = readContext(record);
  return {
    epoch,
    atMs: receivedMonoNs / 1e6,
    phase,
    rows,
    context,
    outputRows: phase === "decode" ? rows : sampledRequestIds.length,
    stages: stages.map(({ stage, computeNs, queueNs, hopNs, bytesIn }) => ({
      stage,
      computeMs: computeNs / 1e6,
      queueMs: queueNs / 1e6,
      hopMs: hopNs === null ? null : hopNs / 1e6,
      bytesIn,
    })),
  };
}

/** The plan in force as a loop knows it; null while a stage has no holder. */
export function readLoopPlan({ plan }: StatusDocument): LoopPlan | null {
  if (plan === null) return null;
  const ranges = plan.split.split(",").map((text) => text.split(":").map(Number));
  const stages = ranges.flatMap(([first, end], stage) => {
    const node = plan.order[stage] ?? null;
    return node === null || first === undefined || end === undefined ? [] : [{ node, first, end }];
  });
  return stages.length === ranges.length ? { epoch: plan.epoch, stages } : null;
}

function writeEvent({ name, severity, node, sentence, figures }: LoopEvent): EventRecord {
  return { name, severity, nodeId: node, message: sentence, details: figures };
}

function makeWarning(name: string, message: string, { code }: NoodleError): EventRecord {
  return { name, severity: "warning", nodeId: null, message, details: { code } };
}
