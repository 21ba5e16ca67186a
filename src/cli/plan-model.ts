import { NoodleError } from "../common/index.ts";
import { openHighs } from "../planner/index.ts";
import { type PlacementObjective, planModel, renderPlanPage } from "../placement/index.ts";
import type { CommandContext } from "./command.ts";
import { readPlacement } from "./plan-sources.ts";
import { renderModelPlan } from "./plan-view.ts";
import { writeWhole } from "./write-whole.ts";

/** What `noodle plan MODEL` takes. */
export interface PlanModelOptions {
  readonly cluster?: string;
  readonly coordinator?: string;
  readonly profile: readonly string[];
  readonly objective: PlacementObjective;
  readonly streams?: number;
  readonly context?: number;
  readonly promptTokens?: number;
  readonly deterministic?: boolean;
  readonly strict?: boolean;
  readonly output?: string;
  readonly report?: string;
  readonly baseline?: string;
  readonly compare?: boolean;
  readonly everyNode?: boolean;
  readonly timeLimit?: number;
}

const STREAMS = 8;
const CONTEXT_TOKENS = 4096;

/** Plans a model on a cluster, and says so. @throws NoodleError `PLAN_INFEASIBLE` behind the document; as `readPlacement` */
export async function planForModel(context: CommandContext, model: string, options: PlanModelOptions): Promise<void> {
  const { out, host } = context;
  const { cluster, coordinator, promptTokens, baseline, timeLimit } = options;
  const placement = await readPlacement(
    {
      model,
      ...(cluster === undefined ? {} : { cluster }),
      ...(coordinator === undefined ? {} : { coordinator }),
      profiles: options.profile,
      strict: options.strict === true,
    },
    context,
  );
  const running = placement.status?.coordinator;
  const trained = placement.model.description.contextLength;
  const usual = trained > 0 ? Math.min(CONTEXT_TOKENS, trained) : CONTEXT_TOKENS;
  const solver = openHighs();
  try {
    const plan = await planModel(
      {
        ...placement,
        objective: options.objective,
        workload: {
          streams: options.streams ?? running?.parallel ?? STREAMS,
          contextTokens: options.context ?? running?.context_tokens ?? usual,
          determinism: options.deterministic === true ? "strict" : "recorded",
          ...(promptTokens === undefined ? {} : { promptTokens }),
        },
        compare: options.compare === true,
        everyNode: options.everyNode === true,
        // For a person the question "and one machine more?" is worth the wait.
        growth: !out.json && baseline === undefined && options.everyNode !== true,
        ...(baseline === undefined ? {} : { baseline }),
        ...(timeLimit === undefined ? {} : { timeLimitS: timeLimit }),
      },
      { nowMs: () => host.nowMs(), solver },
    );
    const text = renderModelPlan(plan);
    out.document({ ...plan });
    out.data(text);
    if (options.output !== undefined) {
      await writeWhole(options.output, `${JSON.stringify(plan, null, 2)}\n`);
      out.note(`wrote ${options.output}`);
    }
    if (options.report !== undefined) {
      await writeWhole(options.report, /\.html?$/i.test(options.report) ? renderPlanPage(plan) : text);
      out.note(`wrote ${options.report}`);
    }
    if (!plan.feasible) {
      throw new NoodleError("PLAN_INFEASIBLE", plan.infeasible_because?.words ?? "no cut of the model fits");
    }
  } finally {
    await solver.close();
  }
}
