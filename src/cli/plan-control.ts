import { setTimeout as sleep } from "node:timers/promises";
import {
  combineObservers,
  type Coordinator,
  type CoordinatorOptions,
  type WantedPlan,
} from "../cluster/coordinator/index.ts";
import { NoodleError } from "../common/index.ts";
import { createLoop, type LoopMode } from "../loop/index.ts";
import type { ClusterObserver } from "../observe/index.ts";
import type { CommandContext } from "./command.ts";
import { describeWorkload, type LiveCluster, planLive, readLivePlacement } from "./live-planning.ts";
import { LoopDriver, LoopFeed, readLoopPlan } from "./loop-driver.ts";
import { readPlanFile } from "./plan-file.ts";
import type { Placement } from "./plan-sources.ts";
import { isPlannedHere, type PlanningOptions } from "./planning-options.ts";

const SWITCH_POLL_MS = 50;

/** The plan of one cluster: taken from a file or made from profiles, and watched by the loop. */
export class PlanControl implements Disposable {
  /** Of `--plan FILE`; null where there is none. */
  readonly wanted: WantedPlan | null;
  readonly #context: CommandContext;
  readonly #options: PlanningOptions;
  readonly #feed = new LoopFeed();
  readonly #observer: ClusterObserver | undefined;

  /** @throws NoodleError of the plan's file */
  static async open(
    context: CommandContext,
    options: PlanningOptions,
    observer: ClusterObserver | undefined,
  ): Promise<PlanControl> {
    const { plan } = options;
    const wanted = plan === undefined || plan === "auto" ? null : await readPlanFile(plan);
    return new PlanControl(context, options, wanted, observer);
  }

  private constructor(
    context: CommandContext,
    options: PlanningOptions,
    wanted: WantedPlan | null,
    observer: ClusterObserver | undefined,
  ) {
    this.#context = context;
    this.#options = options;
    this.wanted = wanted;
    this.#observer = observer;
  }

  /** For `Coordinator.start`, behind those of whoever else watches. */
  get coordinatorOptions(): Partial<CoordinatorOptions> {
    const observer = this.#observer === undefined ? this.#feed : combineObservers(this.#observer, this.#feed);
    return { observer, ...(this.wanted === null ? {} : { plan: this.wanted }) };
  }

  /**
   * The cluster is ready: plans it where that is wanted, and starts the loop.
   *
   * @param model the model's file
   * @throws NoodleError of profiles and planner
   */
  async begin(coordinator: Coordinator, model: string): Promise<void> {
    const { profile: profiles = [], strict = false } = this.#options;
    const isPlanned = isPlannedHere(this.#options);
    const hasProfiles = profiles.some((text) => text.indexOf("=") > 0) || isPlanned;
    const wantsLoop = this.#options.loop === undefined ? hasProfiles : this.#options.loop !== "off";
    if (!isPlanned && !wantsLoop) return;
    const live: LiveCluster = { context: this.#context, coordinator, model, profiles, strict };
    const placement = await readLivePlacement(live);
    if (isPlanned) await this.#plan(live, placement);
    if (wantsLoop) this.#startLoop(live, placement);
  }

  [Symbol.dispose](): void {
    this.#feed.driver?.[Symbol.dispose]();
  }

  async #plan(live: LiveCluster, placement: Placement): Promise<void> {
    const { out, signal } = this.#context;
    const { coordinator } = live;
    const { plan, wanted } = await planLive(live, placement);
    for (const note of plan.notes) out.note(`note: ${note}`);
    const figure = plan.predicted?.tokens_per_s.toFixed(1) ?? "?";
    const { changes, epoch } = coordinator.replan(wanted, `planned from profiles: ${figure} tokens/s are predicted`);
    out.note(
      `planned: ${wanted.split} on ${wanted.order.join(", ")}, ${figure} tokens/s predicted${changes ? "" : "; it is in force already"}`,
    );
    if (epoch === null) return;
    for (;;) {
      const { plan: now, health } = coordinator.status();
      if (now?.next === null && now.refused !== null) {
        throw new NoodleError("PLAN_INFEASIBLE", `the plan could not be put in force: ${now.refused.message}`);
      }
      if (now?.next === null && now.epoch >= epoch && health.status === "ready") return;
      await sleep(SWITCH_POLL_MS, undefined, { signal });
    }
  }

  #startLoop(live: LiveCluster, placement: Placement): void {
    const { out } = this.#context;
    const { coordinator } = live;
    const mode = this.#options.loop ?? chooseMode(placement);
    const { model, cluster, nodes } = placement;
    const workload = describeWorkload(coordinator.status());
    const plan = readLoopPlan(coordinator.status());
    if (plan === null) throw new NoodleError("CLUSTER_NOT_READY", "a stage has lost its worker before the loop began");
    const loop = createLoop(
      { mode, plannerNowMs: () => this.#context.host.nowMs() },
      { model, cluster, nodes, objective: "throughput", workload },
      plan,
    );
    this.#feed.driver = new LoopDriver({
      coordinator,
      loop,
      epoch: plan.epoch,
      tell: (event) => this.#observer?.onEvent?.(event),
      say: (sentence) => out.note(sentence),
    });
    this.#feed.driver.start();
    out.note(`the loop watches every step and ${mode === "auto" ? "re-plans by itself" : "only advises"} (--loop)`);
  }
}

/** Nodes of one machine slow each other down: what profiles promise of them does not hold, so nothing moves unasked. */
function chooseMode({ cluster }: Placement): LoopMode {
  const hosts = cluster.nodes.map(({ name, address }) => (address ?? name).replace(/:\d+$/, ""));
  return new Set(hosts).size === hosts.length ? "auto" : "advise";
}
