import { NoodleError } from "../../common/index.ts";
import type { CoordinatorState } from "../../store/index.ts";
import { type ClusterState, formatUnits, type NodeState, type Plan } from "../state/index.ts";
import { placeStage } from "./describe.ts";
import type { ModelSource } from "./model-source.ts";
import type { CompiledCoordinatorOptions } from "./options.ts";
import type { WorkerLinks } from "./workers.ts";

export interface AssignerOptions {
  readonly options: CompiledCoordinatorOptions;
  readonly source: ModelSource;
  readonly contextTokens: number;
  readonly tell: WorkerLinks["tell"];
  readonly state: Pick<CoordinatorState, "commitPlan" | "recordEvent">;
}

/** What a node was told to hold, and in which of its starts. */
interface Told {
  readonly incarnation: string;
  readonly epochs: Set<number>;
}

/** Tells the workers which stages they hold, and remembers it for the next start. */
export class Assigner {
  readonly #options: AssignerOptions;
  readonly #told = new Map<string, Told>();
  #committedEpoch = 0;
  #isTaken = false;

  constructor(options: AssignerOptions) {
    this.#options = options;
  }

  /** Brings the workers in line with the plans: in force, getting ready, and running out. */
  follow(state: ClusterState): void {
    if (state.plan !== null && state.plan.epoch !== this.#committedEpoch) this.#commit(state.plan);
    if (this.#isTaken) return;
    const plans = listPlans(state);
    for (const node of state.nodes.values()) {
      if (node.phase !== "lost") this.#followNode(state, node, plans);
    }
  }

  /**
   * The plan is on disk before a worker hears of it. A coordinator whose state another one has taken tells nobody any
   * more; a disk that is full does not end what runs.
   */
  #commit(plan: Plan): void {
    const { source, state } = this.#options;
    this.#committedEpoch = plan.epoch;
    const stages = plan.stages.map(({ units, nodeId }) => ({ units: formatUnits(units), nodeId }));
    try {
      state.commitPlan({ epoch: plan.epoch, model: hashOf(source), stages });
    } catch (thrown) {
      const { code, message } = NoodleError.from(thrown);
      this.#isTaken ||= code === "STATE_TAKEN";
      const text = `plan ${plan.epoch} could not be kept: ${message}`;
      state.recordEvent({ name: "plan.not_kept", severity: "error", nodeId: null, message: text, details: { code } });
    }
  }

  #followNode(state: ClusterState, node: NodeState, plans: readonly Plan[]): void {
    const { tell } = this.#options;
    const told = this.#findTold(node);
    const wanted = plans.filter(({ stages }) => stages.some(({ nodeId }) => nodeId === node.id));
    for (const plan of wanted) {
      if (told.epochs.has(plan.epoch)) continue;
      const beside = wanted.some(({ epoch }) => epoch < plan.epoch && told.epochs.has(epoch));
      // One that is not beside the others replaces them, and says so by itself.
      if (!beside) told.epochs.clear();
      told.epochs.add(plan.epoch);
      this.#assign(state, plan, node.id, beside);
    }
    for (const epoch of told.epochs) {
      if (wanted.some((plan) => plan.epoch === epoch)) continue;
      told.epochs.delete(epoch);
      tell(node.id, { case: "retire", value: { epoch: BigInt(epoch) } });
    }
  }

  #findTold({ id, incarnation }: NodeState): Told {
    const known = this.#told.get(id);
    if (known?.incarnation === incarnation) return known;
    const told = { incarnation, epochs: new Set<number>() };
    this.#told.set(id, told);
    return told;
  }

  #assign(state: ClusterState, plan: Plan, nodeId: string, beside: boolean): void {
    const { options, source, contextTokens, tell } = this.#options;
    const { threads, cpuVariant, parallel, maxRows, unverified, hooks } = options;
    const model = source.identity;
    const common = { cpuVariant, parallel, maxRows, unverified, hooks, model, contextTokens, beside };
    const stage = plan.stages.findIndex((each) => each.nodeId === nodeId);
    const value = {
      ...common,
      threads: plan.stages[stage]?.threads ?? threads,
      ...placeStage(plan, state.nodes, stage),
    };
    tell(nodeId, { case: "assign", value });
  }
}

/** Plans whose stages are to be held, the oldest first. A broken plan's stages are kept until another plan is made. */
function listPlans(state: ClusterState): readonly Plan[] {
  const { former, plan, next } = state;
  return [
    ...(former === null || former.broken !== null ? [] : [former.plan]),
    ...(plan === null ? [] : [plan]),
    ...(next === null || next.mode === "drain" ? [] : [next.plan]),
  ];
}

/** What a model is remembered by. */
export function hashOf(source: ModelSource): string {
  return Buffer.from(source.identity.sourceSha256).toString("hex");
}
