import type { PlanRecord, StageStepRecord, StepRecord } from "../../observe/index.ts";
import type { Spread, StageDigest, StepDigest } from "./run-digest.ts";
import { Sketch, spreadOf } from "./sketch.ts";

const MAX_STAGES = 256;
const NOTHING: Spread = { count: 0, p50: 0, p95: 0 };

interface StageSketches {
  nodeId: string;
  readonly oneRow: Sketch;
  readonly compute: Sketch;
  readonly queue: Sketch;
  readonly hop: Sketch;
  readonly serialize: Sketch;
}

/** The decode steps of one epoch, stage by stage. */
export class StageLedger {
  readonly #stages = new Map<number, StageSketches>();
  readonly #total = new Sketch();
  readonly #context = new Sketch();
  #oneRowSteps = 0;
  steps = 0;

  add(record: StepRecord): void {
    this.steps += 1;
    if (record.phase !== "decode") return;
    this.#total.add((record.receivedMonoNs - record.sentMonoNs) / 1e6);
    const oneRow = record.rows === 1;
    if (oneRow) {
      this.#oneRowSteps += 1;
      this.#context.add(record.contextTokens);
    }
    for (const stage of record.stages) this.#addStage(stage, oneRow);
  }

  /** @param names of workers, by id */
  listStages(plan: PlanRecord | null, names: ReadonlyMap<string, string>): readonly StageDigest[] {
    return [...this.#stages]
      .sort(([a], [b]) => a - b)
      .map(([stage, sketches]) => ({
        stage,
        nodeId: sketches.nodeId,
        worker: names.get(sketches.nodeId) ?? sketches.nodeId,
        units: plan?.stages.find((entry) => entry.stage === stage)?.units ?? null,
        oneRowComputeMs: spreadOf(sketches.oneRow),
        computeMs: spreadOf(sketches.compute) ?? NOTHING,
        queueMs: spreadOf(sketches.queue) ?? NOTHING,
        hopMs: spreadOf(sketches.hop) ?? NOTHING,
        serializeMs: spreadOf(sketches.serialize) ?? NOTHING,
      }));
  }

  describeDecode(): StepDigest | null {
    const totalMs = spreadOf(this.#total);
    if (totalMs === null) return null;
    return { totalMs, contextTokens: Math.round(this.#context.quantile(0.5)), oneRowSteps: this.#oneRowSteps };
  }

  #addStage(stage: StageStepRecord, oneRow: boolean): void {
    let sketches = this.#stages.get(stage.stage);
    if (sketches === undefined) {
      if (this.#stages.size >= MAX_STAGES) return;
      sketches = {
        nodeId: stage.nodeId,
        oneRow: new Sketch(),
        compute: new Sketch(),
        queue: new Sketch(),
        hop: new Sketch(),
        serialize: new Sketch(),
      };
      this.#stages.set(stage.stage, sketches);
    }
    sketches.nodeId = stage.nodeId;
    sketches.compute.add(stage.computeNs / 1e6);
    sketches.queue.add(stage.queueNs / 1e6);
    sketches.serialize.add(stage.serializeNs / 1e6);
    if (stage.hopNs !== null) sketches.hop.add(stage.hopNs / 1e6);
    if (oneRow) sketches.oneRow.add(stage.computeNs / 1e6);
  }
}
