import { findLink, type LinkPair } from "../placement/index.ts";
import { ChangeHistory } from "./change-history.ts";
import { correctCosts } from "./correct-costs.ts";
import { Decider } from "./decider.ts";
import { LinkWatch } from "./link-watch.ts";
import { LoadWatch } from "./load-watch.ts";
import { NodeWatch } from "./node-watch.ts";
import { NormalValues } from "./normal.ts";
import { OutcomeWatch } from "./outcome-watch.ts";
import type {
  LinkFactor,
  Loop,
  LoopCosts,
  LoopDecision,
  LoopEvent,
  LoopLoad,
  LoopLook,
  LoopOptions,
  LoopPlan,
  LoopStage,
  LoopStep,
  NodeFactor,
} from "./types.ts";
import { compareStages } from "./weigh-move.ts";
import { describeLink, describeLoad, describeNode, describeOutcome } from "./words.ts";

/** After a node or link became another, queues tell of that and not of the load. */
const SETTLE_MS = 10_000;
const SEED = 20;

/** Makes the loop of a cluster that runs `plan`. See `Loop`. */
export function createLoop(options: LoopOptions, costs: LoopCosts, plan: LoopPlan): Loop {
  return new ClosedLoop(options, costs, plan);
}

class ClosedLoop implements Loop {
  readonly #options: LoopOptions;
  #costs: LoopCosts;
  #plan: LoopPlan;
  readonly #nodes = new Map<string, NodeWatch>();
  readonly #links = new Map<string, LinkWatch>();
  readonly #load = new LoadWatch();
  readonly #history = new ChangeHistory();
  readonly #decider: Decider;
  readonly #events: LoopEvent[] = [];
  /** The last move, until it is judged, and the stages that it left. */
  #outcome: { readonly watch: OutcomeWatch; readonly before: readonly LoopStage[] } | null = null;

  constructor(options: LoopOptions, costs: LoopCosts, plan: LoopPlan) {
    this.#options = options;
    this.#costs = costs;
    this.#plan = plan;
    this.#decider = new Decider(options, this.#history);
  }

  observe(step: LoopStep): void {
    if (this.#options.mode === "off" || step.epoch !== this.#plan.epoch) return;
    this.#load.add(step);
    this.#outcome?.watch.add(step);
    for (const times of step.stages) {
      const stage = this.#plan.stages[times.stage];
      if (stage === undefined) continue;
      const headUnit = this.#costs.model.description.units.length - 1;
      const watch = this.#watchNode(stage.node);
      const finding = watch?.add(step, times, stage, headUnit) ?? null;
      if (finding !== null) {
        this.#events.push(describeNode(stage.node, finding, step.atMs));
        if (finding.type === "changed") this.#remember(`node ${stage.node}`, step.atMs);
      }
      if (times.hopMs !== null) this.#addHop(times.stage, times.bytesIn, times.hopMs, step.atMs);
    }
  }

  look(look: LoopLook): void {
    const stage = this.#plan.stages[look.stage];
    if (this.#options.mode === "off" || look.epoch !== this.#plan.epoch || stage === undefined) return;
    this.#watchNode(stage.node)?.look(look);
  }

  async decide(nowMs: number, load: LoopLoad): Promise<readonly LoopDecision[]> {
    if (this.#options.mode === "off") return [];
    this.#load.addWaiting(load.waiting);
    if (this.#isCalm(nowMs)) {
      const other = this.#load.look();
      if (other !== null) this.#events.push(describeLoad(other.from, other.to, nowMs));
    }
    this.#judgeMove(nowMs);
    const found = this.#events.splice(0).map((event): LoopDecision => ({ action: "none", event, move: null }));
    // Before every stage was seen at work, there is nothing to compare.
    if (!this.#plan.stages.every(({ node }) => this.#nodes.get(node)?.known === true)) return found;
    const decision = await this.#decider.decide({
      nowMs,
      load,
      plan: this.#plan,
      costs: this.#correct(() => 0),
      factors: [...this.#nodes.values()].map((watch) => watch.factor("decode")).concat(this.#linkRatios()),
      draw: () => this.#correct((values) => values.next()),
    });
    return decision === null ? found : [...found, decision];
  }

  usePlan(plan: LoopPlan, nowMs: number, moved: boolean): void {
    const costs = this.#correct(() => 0);
    const before = this.#plan.stages;
    const gain = this.#decider.usePlan(nowMs, moved);
    this.#outcome = gain === null ? null : { watch: new OutcomeWatch({ plan, costs, gain, sinceMs: nowMs }), before };
    for (const stage of plan.stages) {
      const old = this.#plan.stages.find(({ node }) => node === stage.node);
      if (old?.first !== stage.first || old.end !== stage.end) this.#nodes.get(stage.node)?.useStage(stage);
    }
    this.#plan = plan;
    for (const watch of [...this.#nodes.values(), ...this.#links.values()]) watch.forgetBlocks();
    this.#load.forget();
  }

  useCosts(costs: LoopCosts): void {
    this.#costs = costs;
    for (const [name, watch] of this.#nodes) {
      const node = costs.nodes.find((each) => each.name === name);
      if (node === undefined) this.#nodes.delete(name);
      else watch.useCosts(node.costs);
    }
    for (const [key, { from, to }] of this.#links) {
      if (!costs.nodes.some(({ name }) => name === from) || !costs.nodes.some(({ name }) => name === to)) {
        this.#links.delete(key);
      }
    }
    this.#decider.reconsider();
  }

  get nodeFactors(): readonly NodeFactor[] {
    return [...this.#nodes.values()].flatMap((watch) => watch.list());
  }

  get linkFactors(): readonly LinkFactor[] {
    return [...this.#links.values()].filter(({ known }) => known).map((watch) => watch.list());
  }

  #watchNode(name: string): NodeWatch | null {
    const known = this.#nodes.get(name);
    if (known !== undefined) return known;
    const node = this.#costs.nodes.find((each) => each.name === name);
    if (node === undefined) return null;
    const watch = new NodeWatch(name, node.costs, this.#options);
    this.#nodes.set(name, watch);
    return watch;
  }

  #addHop(stage: number, bytes: number, ms: number, atMs: number): void {
    const { cluster } = this.#costs;
    const from = stage === 0 ? cluster.coordinator : this.#plan.stages[stage - 1]?.node;
    const to = this.#plan.stages[stage]?.node;
    if (from === undefined || from === null || to === undefined || from === to) return;
    const key = JSON.stringify([from, to]);
    let watch = this.#links.get(key);
    if (watch === undefined) {
      watch = new LinkWatch(from, to, findLink(cluster, from, to), this.#options);
      this.#links.set(key, watch);
    }
    const finding = watch.add(atMs, bytes, ms);
    if (finding === null) return;
    this.#events.push(describeLink(watch, finding, atMs));
    if (finding.type === "changed") this.#remember(`link ${key}`, atMs);
  }

  #judgeMove(nowMs: number): void {
    if (this.#outcome === null) return;
    const { watch, before } = this.#outcome;
    const outcome = watch.judge(nowMs);
    if (outcome === null) return;
    this.#outcome = null;
    const gainNow = compareStages(
      this.#correct(() => 0),
      before,
      watch.promise.plan.stages,
    );
    this.#events.push(describeOutcome(outcome, watch.promise.gain, gainNow, nowMs));
  }

  #remember(subject: string, atMs: number): void {
    this.#history.add(subject, atMs);
    this.#load.forget();
  }

  #isCalm(nowMs: number): boolean {
    const watches = [...this.#nodes.values(), ...this.#links.values()];
    return nowMs - this.#history.lastMs >= SETTLE_MS && !watches.some(({ suspicious }) => suspicious);
  }

  #linkRatios(): number[] {
    return this.linkFactors.flatMap(({ latency, bandwidth }) => [latency, 1 / bandwidth]);
  }

  #values = new NormalValues(SEED);

  /** @param deviation of each factor, in its standard errors */
  #correct(deviation: (values: NormalValues) => number): LoopCosts {
    const factors = new Map(
      [...this.#nodes.values()].map((watch) => {
        const by = Math.exp(watch.levelSigma * deviation(this.#values));
        return [watch.node, watch.factors(by)];
      }),
    );
    const links = [...this.#links.values()]
      .filter(({ known }) => known)
      .map((watch): LinkPair => {
        const by = Math.exp(watch.levelSigma * deviation(this.#values));
        const link = watch.measure();
        const { from, to } = watch;
        return { from, to, link: { ...link, latencyMs: link.latencyMs * by, bytesPerMs: link.bytesPerMs / by } };
      });
    return correctCosts(this.#costs, (node) => factors.get(node) ?? null, links);
  }
}
