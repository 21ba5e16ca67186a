import { describeModelPlan, type ModelPlan } from "../placement/index.ts";
import { formatBytes, formatMs } from "./quantities.ts";
import { renderTable } from "./table.ts";

/** Words first, then the tables. */
export function renderModelPlan(plan: ModelPlan): string {
  const words = describeModelPlan(plan).join("\n");
  if (!plan.feasible) return `${words}\n\n${renderAlone(plan)}`;
  const foot = `${plan.algorithm}, ${plan.solve_ms.toFixed(0)} ms; --split ${plan.split ?? ""}`;
  const baselines = plan.baselines === undefined ? "" : `\n${renderBaselines(plan)}`;
  return `${words}\n\n${renderStages(plan)}\n${foot}\n${baselines}`;
}

function renderStages(plan: ModelPlan): string {
  return renderTable(
    [
      { title: "stage", align: "right" },
      { title: "node" },
      { title: "units" },
      { title: "decode ms", align: "right" },
      { title: "prefill ms", align: "right" },
      { title: "busy", align: "right" },
      { title: "weights", align: "right" },
      { title: "KV", align: "right" },
      { title: "of memory", align: "right" },
    ],
    plan.stages.map((stage, index) => [
      String(index),
      stage.node,
      stage.units,
      formatMs(stage.decode_ms),
      formatMs(stage.prefill_ms),
      `${(100 * stage.busy_ratio).toFixed(0)}%`,
      formatBytes(stage.weights_bytes),
      formatBytes(stage.kv_bytes),
      stage.memory_bytes === null ? "-" : formatBytes(stage.memory_bytes),
    ]),
  );
}

function renderAlone(plan: ModelPlan): string {
  return renderTable(
    [{ title: "node alone" }, { title: "lacks", align: "right" }],
    plan.alone.map((row) => [row.node, row.fits ? "-" : formatBytes(row.short_bytes)]),
  );
}

function renderBaselines(plan: ModelPlan): string {
  const { predicted } = plan;
  return renderTable(
    [
      { title: "plan" },
      { title: "tokens/s", align: "right" },
      { title: "token to token ms", align: "right" },
      { title: "ours better by", align: "right" },
      { title: "stages" },
      { title: "cannot run because" },
    ],
    [
      [
        "noodle",
        formatRate(predicted?.tokens_per_s ?? null),
        formatMs(predicted?.itl_ms ?? null),
        "1.000",
        nameStages(plan),
        "",
      ],
      ...(plan.baselines ?? []).map((row) => [
        row.name,
        formatRate(row.tokens_per_s),
        formatMs(row.itl_ms),
        row.ours_better_by === null ? "-" : row.ours_better_by.toFixed(3),
        nameStages(row),
        row.reason ?? "",
      ]),
    ],
  );
}

const STAGES_NAMED = 6;

function nameStages({ split, order }: { readonly split: string | null; readonly order: readonly string[] }): string {
  if (split === null) return "-";
  const stages = split.split(",").map((units, index) => `${order[index] ?? ""} ${units}`);
  const more = stages.length - STAGES_NAMED;
  return more > 0 ? `${stages.slice(0, STAGES_NAMED).join(", ")} and ${more} more` : stages.join(", ");
}

function formatRate(rate: number | null): string {
  return rate === null ? "-" : rate.toFixed(rate < 10 ? 3 : 1);
}
