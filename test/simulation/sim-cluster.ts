import { NoodleError } from "../../src/common/index.ts";
import type { RequestPlan } from "./sim-request.ts";
import { SimRequest } from "./sim-request.ts";
import { COORDINATOR_ADDRESS, SimCoordinator, type SimCoordinatorOptions } from "./sim-coordinator.ts";
import { SimDisk } from "./sim-state.ts";
import { SimWorker } from "./sim-worker.ts";
import type { ToyRules } from "./toy-model.ts";
import type { World } from "./world.ts";

export interface ClusterPlan extends SimCoordinatorOptions {
  readonly workers: number;
  readonly rules: ToyRules;
  readonly callMs: number;
}

/** The simulated cluster, and what can be done to it. */
export class SimCluster {
  readonly world: World;
  readonly disk = new SimDisk();
  readonly workers: SimWorker[];
  readonly requests: SimRequest[] = [];
  coordinator: SimCoordinator;
  readonly #plan: ClusterPlan;
  /** Lives of the coordinator before this one. */
  readonly #former: SimCoordinator[] = [];
  /** Holders of each plan that was asked for, by epoch. */
  readonly #prepared = new Map<number, readonly string[]>();
  /** `epoch@worker` of every stage that was ever reported ready. */
  readonly #ready = new Set<string>();

  constructor(world: World, plan: ClusterPlan) {
    this.world = world;
    this.#plan = plan;
    this.disk.onCommit = (epoch) => this.#checkCommit(epoch);
    world.network.onCall = (method, message) => this.#checkCall(method, message);
    this.coordinator = new SimCoordinator(world, this.disk, plan);
    const { rules, callMs } = plan;
    const onReady = (epoch: number, name: string): void => void this.#ready.add(`${epoch}@${name}`);
    const worker = { join: COORDINATOR_ADDRESS, rules, callMs, onReady };
    this.workers = Array.from(
      { length: plan.workers },
      (_, index) => new SimWorker(world, { ...worker, name: `w${index}` }),
    );
  }

  /** A plan that is prepared beside another may be committed when every stage of it is loaded, and not before. */
  #checkCommit(epoch: number): void {
    for (const name of this.#prepared.get(epoch) ?? []) {
      if (!this.#ready.has(`${epoch}@${name}`))
        this.world.violate(`plan ${epoch} is committed, and ${name} has not loaded its stage`);
    }
  }

  /** Nothing runs on a plan that is not on disk. */
  #checkCall(method: string, message: unknown): void {
    if (method !== "CreateSession") return;
    const { epoch } = message as { epoch: bigint };
    if (!this.disk.plans.has(Number(epoch)))
      this.world.violate(`a session is opened on plan ${epoch}, which was not committed`);
  }

  startWorkers(count: number): void {
    for (const worker of this.workers.slice(0, count)) worker.start();
  }

  request(plan: RequestPlan): SimRequest {
    const request = new SimRequest(this.world, this.disk, plan);
    this.requests.push(request);
    request.start(this.coordinator);
    return request;
  }

  killCoordinator(): void {
    this.coordinator.process.kill();
  }

  startCoordinator(): void {
    this.#former.push(this.coordinator);
    this.coordinator = new SimCoordinator(this.world, this.disk, this.#plan);
  }

  /** Those whose state another has taken: somebody ends them at last. */
  killFormerCoordinators(): void {
    for (const { process } of this.#former) process.kill();
  }

  repartition(split: string, order: readonly string[]): void {
    const life = this.coordinator;
    this.world.time.schedule(0, life.process, () => {
      try {
        const terms = {
          sha256: "",
          decodeInFlight: null,
          maxDecodeRows: null,
          prefillRows: null,
          mixedPrefillRows: null,
          predictedPeriodMs: null,
          predictedLatencyMs: null,
          predictedTokensPerSec: null,
        };
        const wanted = { split, order, terms, modelHeaderSha256: null };
        const { epoch } = life.require().replan(wanted, "a simulated wish");
        if (epoch !== null) this.#prepared.set(epoch, order);
        this.world.note(`repartition ${split} over ${order.join(",")}`);
      } catch (thrown) {
        this.world.note(`repartition refused: ${NoodleError.from(thrown).message}`);
      }
    });
  }

  /** The first time that requests can be served. */
  async untilReady(limitMs: number): Promise<boolean> {
    let isReady = false;
    this.coordinator.whenReady(() => {
      isReady = true;
    });
    const { time } = this.world;
    await time.run(time.nowMs + limitMs, () => isReady);
    return isReady;
  }
}
