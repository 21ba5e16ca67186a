import { open, readFile, stat } from "node:fs/promises";
import { NoodleError } from "../common/index.ts";
import { openHighs } from "../planner/index.ts";
import { MAX_PLAN_BYTES, type ModelPlan, type PlanWorkload, planModel, readModelPlan } from "../placement/index.ts";
import { makeSimCluster, type SimCluster } from "../sim/index.ts";
import type { CommandContext } from "./command.ts";
import { type Placement, readPlacement } from "./plan-sources.ts";

/** Where the cluster and the plan of a simulation come from. */
export interface SimSource {
  readonly cluster?: string;
  readonly coordinator?: string;
  readonly profile: readonly string[];
  readonly model?: string;
  readonly streams?: number;
  readonly context?: number;
}

/** A plan, and what its costs are read from. */
export interface PlannedModel {
  readonly placement: Placement;
  readonly plan: ModelPlan;
}

const STREAMS = 8;
const CONTEXT_TOKENS = 4096;
const TIME_LIMIT_S = 10;

/**
 * Reads a plan (`noodle.model_plan.v1`), or plans a model.
 *
 * @throws NoodleError `PLAN_INVALID` for a plan of another model, or that can't be run; `PLAN_INFEASIBLE`; of what can't
 *   be read
 */
export async function readPlannedModel(
  context: CommandContext,
  target: string,
  source: SimSource,
): Promise<PlannedModel> {
  const written = await readPlanFile(target);
  const model = source.model ?? (written === null ? target : written.model.path);
  if (model === null) throw new NoodleError("USAGE", `${target} names no model file; give it with --model`);
  const placement = await readPlacement(
    {
      model,
      ...(source.cluster === undefined ? {} : { cluster: source.cluster }),
      ...(source.coordinator === undefined ? {} : { coordinator: source.coordinator }),
      profiles: source.profile,
      strict: false,
    },
    context,
  );
  if (written === null) {
    return { placement, plan: await makePlan(context, placement, chooseWorkload(placement, source)) };
  }
  checkSameModel(written, placement, model);
  return { placement, plan: written };
}

/** What is planned for where nobody said. */
export function chooseWorkload(
  { model, status }: Placement,
  source: Pick<SimSource, "streams" | "context">,
): PlanWorkload {
  const trained = model.description.contextLength;
  const usual = trained > 0 ? Math.min(CONTEXT_TOKENS, trained) : CONTEXT_TOKENS;
  return {
    streams: source.streams ?? status?.coordinator.parallel ?? STREAMS,
    contextTokens: source.context ?? status?.coordinator.context_tokens ?? usual,
  };
}

/** @throws NoodleError `PLAN_INFEASIBLE` */
export async function makePlan(
  { host }: CommandContext,
  placement: Placement,
  workload: PlanWorkload,
): Promise<ModelPlan> {
  const solver = openHighs();
  try {
    const plan = await planModel(
      { ...placement, objective: "throughput", workload, timeLimitS: TIME_LIMIT_S },
      { nowMs: () => host.nowMs(), solver },
    );
    if (plan.feasible) return plan;
    throw new NoodleError("PLAN_INFEASIBLE", plan.infeasible_because?.words ?? "no cut of the model fits");
  } finally {
    await solver.close();
  }
}

/** The cluster of a plan, ready to be simulated; for nodes that fail for good, plans without them are made. */
export async function prepareCluster(
  context: CommandContext,
  { placement, plan }: PlannedModel,
  options: { readonly noise?: number } = {},
): Promise<SimCluster> {
  const replacements = new Map<number, ModelPlan>();
  const lost = new Set<string>();
  let current = plan;
  const { failures } = placement.cluster;
  const inOrder = failures.map((failure, index) => ({ failure, index })).sort((a, b) => a.failure.atS - b.failure.atS);
  for (const { failure, index } of inOrder) {
    if (failure.backAfterS !== null) continue;
    lost.add(failure.node);
    if (!current.order.includes(failure.node)) continue;
    const nodes = placement.nodes.filter(({ name }) => !lost.has(name));
    if (nodes.length === 0) throw new NoodleError("PLAN_INFEASIBLE", "all nodes fail, and none comes back");
    const { streams, context_tokens: contextTokens, determinism } = plan.workload;
    current = await makePlan(context, { ...placement, nodes }, { streams, contextTokens, determinism });
    replacements.set(index, current);
  }
  const { cluster, nodes } = placement;
  return makeSimCluster({ plan, cluster, nodes, replacements, ...options });
}

/** @returns null for a file that is something else, such as a model */
async function readPlanFile(path: string): Promise<ModelPlan | null> {
  const facts = await stat(path).catch(() => null);
  if (facts === null || !facts.isFile()) throw new NoodleError("FILE_NOT_FOUND", `there is no plan or model ${path}`);
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(64), 0, 64, 0);
    if (!/^\s*\{/.test(buffer.toString("latin1", 0, bytesRead))) return null;
  } finally {
    await file.close();
  }
  if (facts.size > MAX_PLAN_BYTES)
    throw new NoodleError("PLAN_INVALID", `${path} has ${facts.size} bytes, the limit is ${MAX_PLAN_BYTES}`);
  return readModelPlan(await readFile(path, "utf8"));
}

/** @throws NoodleError `PLAN_INVALID` */
function checkSameModel(plan: ModelPlan, { model }: Placement, path: string): void {
  const units = model.description.units.length;
  const { header_sha256: planned } = plan.model;
  if (plan.model.units === units && (planned === null || planned === model.headerSha256)) return;
  throw new NoodleError(
    "PLAN_INVALID",
    `the plan is of another model than ${path}: make it again with \`noodle plan\``,
  );
}
