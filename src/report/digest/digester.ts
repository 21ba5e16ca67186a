import type {
  EventRecord,
  LayerRecord,
  NodeRecord,
  PlanRecord,
  RequestRecord,
  StepRecord,
} from "../../observe/index.ts";
import { EventLedger } from "./event-ledger.ts";
import { LayerLedger } from "./layer-ledger.ts";
import type { PlanDigest, RunDigest } from "./run-digest.ts";
import { SeriesLedger } from "./series-ledger.ts";
import { Sketch, spreadOf } from "./sketch.ts";
import { StageLedger } from "./stage-ledger.ts";
import { TypicalStretch } from "./typical-stretch.ts";

/** A run with more plans or workers than this is not told apart any further. */
const MAX_EPOCHS = 64;
const MAX_NODES = 256;

/** Takes a run's records one after another and keeps what a report needs: bounded memory, any length. */
export class Digester {
  readonly #stages = new Map<number, StageLedger>();
  readonly #stretch = new TypicalStretch();
  readonly #layers = new LayerLedger();
  readonly #series = new SeriesLedger();
  readonly #events = new EventLedger();
  readonly #plans = new Map<number, PlanRecord & { readonly atMs: number }>();
  readonly #nodes = new Map<string, NodeRecord>();
  readonly #ttft = new Sketch();
  readonly #itl = new Sketch();
  #steps = 0;
  #finished = 0;
  #failed = 0;
  #generatedTokens = 0;
  #firstMs = Number.POSITIVE_INFINITY;
  #lastMs = Number.NEGATIVE_INFINITY;

  /** @param atMs when the row was written, Unix time. */
  addStep(record: StepRecord, atMs: number): void {
    this.#see(atMs);
    this.#steps += 1;
    const ledger = this.#ledgerOf(record.epoch);
    if (ledger === null) return;
    ledger.add(record);
    this.#series.addStep(record, atMs);
    this.#stretch.add({
      stepId: record.stepId,
      epoch: record.epoch,
      phase: record.phase,
      rows: record.rows,
      sentMs: record.sentMonoNs / 1e6,
      receivedMs: record.receivedMonoNs / 1e6,
      stages: record.stages.map((stage) => ({
        stage: stage.stage,
        hopMs: stage.hopNs === null ? null : stage.hopNs / 1e6,
        queueMs: stage.queueNs / 1e6,
        computeMs: stage.computeNs / 1e6,
        serializeMs: stage.serializeNs / 1e6,
      })),
    });
  }

  addLayer(record: LayerRecord, atMs: number): void {
    this.#see(atMs);
    this.#layers.add(record);
  }

  addRequest(record: RequestRecord, atMs: number): void {
    this.#see(atMs);
    if (record.type === "start") return;
    if (record.errorCode === null) this.#finished += 1;
    else this.#failed += 1;
    this.#generatedTokens += record.generatedTokens;
    this.#series.endRequest(record.requestId);
    for (const gap of record.interTokenNs) this.#itl.add(gap / 1e6);
    if (record.firstTokenMonoNs === null) return;
    const ttftMs = (record.firstTokenMonoNs - record.startMonoNs) / 1e6;
    this.#ttft.add(ttftMs);
    this.#series.addTtft(ttftMs, atMs - Math.max(0, (record.monoNs - record.firstTokenMonoNs) / 1e6));
  }

  addPlan(record: PlanRecord, atMs: number): void {
    this.#see(atMs);
    if (this.#plans.size < MAX_EPOCHS || this.#plans.has(record.epoch))
      this.#plans.set(record.epoch, { ...record, atMs });
  }

  addNode(record: NodeRecord, atMs: number): void {
    this.#see(atMs);
    if (this.#nodes.size < MAX_NODES || this.#nodes.has(record.nodeId)) this.#nodes.set(record.nodeId, record);
  }

  addEvent(record: EventRecord, atMs: number): void {
    this.#see(atMs);
    this.#events.add(record, atMs);
  }

  /** Null when nothing was added. */
  finish(): RunDigest | null {
    if (this.#firstMs > this.#lastMs) return null;
    const [epoch, main] = [...this.#stages].reduce<readonly [number, StageLedger | null]>(
      (best, [number, ledger]) => (ledger.steps > (best[1]?.steps ?? 0) ? [number, ledger] : best),
      [0, null],
    );
    const names = new Map([...this.#nodes.values()].map(({ nodeId, name }) => [nodeId, name]));
    return {
      durationS: (this.#lastMs - this.#firstMs) / 1000,
      steps: this.#steps,
      epoch,
      plans: this.#listPlans(),
      stages: main?.listStages(this.#plans.get(epoch) ?? null, names) ?? [],
      decode: main?.describeDecode() ?? null,
      timeline: this.#stretch.choose(epoch),
      heat: this.#layers.buildHeat(epoch),
      units: this.#layers.listUnits(epoch),
      series: this.#series.finish(this.#firstMs, this.#lastMs),
      requests: {
        finished: this.#finished,
        failed: this.#failed,
        generatedTokens: this.#generatedTokens,
        ttftMs: spreadOf(this.#ttft),
        itlMs: spreadOf(this.#itl),
      },
      nodes: [...this.#nodes.values()].sort((a, b) => compareText(a.name, b.name)),
      events: this.#events.list(this.#firstMs),
    };
  }

  #see(atMs: number): void {
    this.#firstMs = Math.min(this.#firstMs, atMs);
    this.#lastMs = Math.max(this.#lastMs, atMs);
  }

  #ledgerOf(epoch: number): StageLedger | null {
    const known = this.#stages.get(epoch);
    if (known !== undefined) return known;
    if (this.#stages.size >= MAX_EPOCHS) return null;
    const created = new StageLedger();
    this.#stages.set(epoch, created);
    return created;
  }

  #listPlans(): readonly PlanDigest[] {
    return [...this.#plans.values()]
      .sort((a, b) => a.epoch - b.epoch)
      .map(({ epoch, split, reason, atMs }) => ({
        epoch,
        split,
        reason,
        atS: (atMs - this.#firstMs) / 1000,
        steps: this.#stages.get(epoch)?.steps ?? 0,
      }));
  }
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
