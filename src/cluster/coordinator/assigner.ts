import type { NodeState, Plan } from "../state/index.ts";
import { placeStage } from "./describe.ts";
import { writeStageHolders } from "./holder-store.ts";
import type { ModelSource } from "./model-source.ts";
import type { CompiledCoordinatorOptions } from "./options.ts";
import type { WorkerLinks } from "./workers.ts";

export interface AssignerOptions {
  readonly options: CompiledCoordinatorOptions;
  readonly source: ModelSource;
  readonly contextTokens: number;
  readonly tell: WorkerLinks["tell"];
}

/** Tells the workers which stages they hold, and remembers it for the next start. */
export class Assigner {
  readonly #options: AssignerOptions;
  /** Epoch of the stage that each node was told to hold. */
  #assigned = new Map<string, number>();
  #written: Promise<void> = Promise.resolve();

  constructor(options: AssignerOptions) {
    this.#options = options;
  }

  /** The last plan's holders are on disk; whoever closes may remove the data directory afterwards. */
  get written(): Promise<void> {
    return this.#written;
  }

  /** The plan is in force. @param holders of its stages, in order */
  assign(plan: Plan, holders: readonly NodeState[]): void {
    const { options, source, contextTokens, tell } = this.#options;
    const ids = new Set(holders.map((node) => node.id));
    for (const [nodeId, epoch] of this.#assigned) {
      if (!ids.has(nodeId)) tell(nodeId, { case: "retire", value: { epoch: BigInt(epoch) } });
    }
    this.#assigned = new Map(holders.map((node) => [node.id, plan.epoch]));
    const { threads, cpuVariant, parallel, maxRows, unverified, hooks, dataDir } = options;
    const model = source.identity;
    const common = { threads, cpuVariant, parallel, maxRows, unverified, hooks, model, contextTokens };
    for (const [stage, node] of holders.entries()) {
      tell(node.id, { case: "assign", value: { ...common, ...placeStage(plan, holders, stage) } });
    }
    // Only a hint for the next start: a full disk must not end what runs.
    this.#written = this.#written.then(() => writeStageHolders(dataDir, hashOf(source), plan)).catch(() => undefined);
  }
}

/** What a model is remembered by. */
export function hashOf(source: ModelSource): string {
  return Buffer.from(source.identity.sourceSha256).toString("hex");
}
