import type { ClusterObserver, NodeRecord, Phase, PlanRecord, RequestRecord, StepRecord } from "../observe/index.ts";
import { findBottleneck } from "./bottleneck.ts";
import type { LiveDocument, LiveStage } from "./live-document.ts";
import { describe, LiveStageWindow } from "./live-stage.ts";
import { RateWindow } from "./rate-window.ts";
import { RequestTable, type TokenTiming } from "./request-table.ts";
import { SampleRing } from "./sample-ring.ts";

export interface LiveStatsOptions {
  /** Monotonic, the clock of the records. @default process.hrtime */
  readonly nowMonoNs?: () => number;
  /** Steps of each phase that a stage's figures are made of. @default 256 */
  readonly windowSteps?: number;
  /** How far rates look back. @default 10 */
  readonly windowSeconds?: number;
}

const NS_PER_MS = 1e6;
/** Of a plan, as many as the protocol takes. */
const MAX_STAGES = 1024;
const MAX_NODES = 1024;

/** How the cluster is doing right now: rates and quantiles over bounded windows of the latest records. */
export class LiveStats implements ClusterObserver {
  readonly #nowMonoNs: () => number;
  readonly #windowSteps: number;
  readonly #windowSeconds: number;
  readonly #requests = new RequestTable();
  readonly #stages = new Map<number, LiveStageWindow>();
  readonly #nodeNames = new Map<string, string>();
  readonly #promptTokens: RateWindow;
  readonly #generatedTokens: RateWindow;
  readonly #ttft: SampleRing;
  readonly #itl: SampleRing;
  readonly #steps: Readonly<Record<Phase, SampleRing>>;
  #plan: PlanRecord["stages"] = [];
  #lastStepMonoNs: number | null = null;
  #finished = 0;
  #failed = 0;

  constructor(options: LiveStatsOptions = {}) {
    this.#nowMonoNs = options.nowMonoNs ?? (() => Number(process.hrtime.bigint()));
    this.#windowSteps = options.windowSteps ?? 256;
    this.#windowSeconds = options.windowSeconds ?? 10;
    this.#promptTokens = new RateWindow(this.#windowSeconds);
    this.#generatedTokens = new RateWindow(this.#windowSeconds);
    this.#ttft = new SampleRing(this.#windowSteps);
    this.#itl = new SampleRing(this.#windowSteps);
    this.#steps = { prefill: new SampleRing(this.#windowSteps), decode: new SampleRing(this.#windowSteps) };
  }

  onRequest(record: RequestRecord): void {
    if (record.type === "start") {
      this.#requests.start(record);
      return;
    }
    this.#requests.end(record.requestId);
    if (record.finishReason === null) this.#failed += 1;
    else this.#finished += 1;
  }

  onStep(record: StepRecord): void {
    const { phase, requestIds, sampledRequestIds, sentMonoNs, receivedMonoNs } = record;
    this.#lastStepMonoNs = receivedMonoNs;
    for (const id of requestIds) this.#requests.run(id);
    if (phase === "prefill") this.#promptTokens.add(receivedMonoNs, record.rows);
    this.#steps[phase].add((receivedMonoNs - sentMonoNs) / NS_PER_MS);
    for (const id of sampledRequestIds) this.#addToken(this.#requests.takeToken(id, receivedMonoNs), receivedMonoNs);
    for (const stage of record.stages) this.#stage(stage.stage)?.add(phase, stage, receivedMonoNs);
  }

  onNode(record: NodeRecord): void {
    if (record.state === "lost") this.#nodeNames.delete(record.nodeId);
    else if (this.#nodeNames.size < MAX_NODES) this.#nodeNames.set(record.nodeId, record.name);
  }

  onPlan(record: PlanRecord): void {
    this.#plan = record.stages;
    this.#stages.clear();
    this.#steps.prefill.clear();
    this.#steps.decode.clear();
  }

  snapshot(): LiveDocument {
    const nowMonoNs = this.#nowMonoNs();
    const stages = [...this.#stages.entries()].sort(([a], [b]) => a - b);
    const means = { prefill: this.#steps.prefill.mean(), decode: this.#steps.decode.mean() };
    return {
      schema: "noodle.live.v1",
      window_s: this.#windowSeconds,
      window_steps: this.#windowSteps,
      tokens_per_s: {
        prompt: this.#promptTokens.perSecond(nowMonoNs),
        generated: this.#generatedTokens.perSecond(nowMonoNs),
      },
      requests: {
        running: this.#requests.running,
        waiting: this.#requests.waiting,
        finished: this.#finished,
        failed: this.#failed,
      },
      ttft_ms: describe(this.#ttft),
      itl_ms: describe(this.#itl),
      step_ms: { prefill: describe(this.#steps.prefill), decode: describe(this.#steps.decode) },
      last_step_age_ms:
        this.#lastStepMonoNs === null ? null : Math.max(0, (nowMonoNs - this.#lastStepMonoNs) / NS_PER_MS),
      stages: stages.map(([stage, window]): LiveStage => {
        return {
          stage,
          node: window.nodeId,
          node_name: this.#nameOf(window.nodeId),
          units: this.#plan.find((planned) => planned.stage === stage)?.units ?? null,
          prefill: window.describePhase("prefill", means.prefill),
          decode: window.describePhase("decode", means.decode),
          busy_ratio: window.busyRatio(nowMonoNs),
        };
      }),
      bottleneck: this.#findBottleneck("decode", means.decode) ?? this.#findBottleneck("prefill", means.prefill),
    };
  }

  #findBottleneck(phase: Phase, stepMs: number): LiveDocument["bottleneck"] {
    const costs = [...this.#stages.entries()].flatMap(([stage, window]) => {
      const means = window.means(phase);
      const { nodeId } = window;
      return means === null ? [] : [{ ...means, stage, node: nodeId, nodeName: this.#nameOf(nodeId) }];
    });
    return findBottleneck(phase, costs, stepMs);
  }

  #addToken(timing: TokenTiming | null, monoNs: number): void {
    if (timing === null) return;
    this.#generatedTokens.add(monoNs, 1);
    if (timing.firstTokenNs !== null) this.#ttft.add(timing.firstTokenNs / NS_PER_MS);
    if (timing.gapNs !== null) this.#itl.add(timing.gapNs / NS_PER_MS);
  }

  #nameOf(nodeId: string): string {
    return this.#nodeNames.get(nodeId) ?? nodeId;
  }

  #stage(stage: number): LiveStageWindow | undefined {
    const known = this.#stages.get(stage);
    if (known !== undefined || this.#stages.size >= MAX_STAGES) return known;
    const added = new LiveStageWindow(this.#windowSteps, this.#windowSeconds);
    this.#stages.set(stage, added);
    return added;
  }
}
