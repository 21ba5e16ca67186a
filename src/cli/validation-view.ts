import type { ValidationDocument } from "../validate/index.ts";
import { renderTable } from "./table.ts";

type Plan = ValidationDocument["plans"][number];

/** Predicted beside measured, plan by plan, stage by stage, and what it comes to. */
export function renderValidation(document: ValidationDocument): string {
  return `${renderPlans(document)}\n${renderStages(document)}\n${renderGoals(document)}`;
}

/** What a validation says, most important first. */
export function describeValidation(document: ValidationDocument): readonly string[] {
  const { summary, plans, repetitions, calibration } = document;
  const { decode, prefill, processes } = calibration.co_run;
  return [
    `Over ${plans.length} plans, ${repetitions} runs each, predicted throughput was off by ${percent(summary.tokens_per_s.mean_absolute)} on the average and ${percent(summary.tokens_per_s.max_absolute)} at most.`,
    `The time from token to token was off by ${percent(summary.itl_ms.mean_absolute)}, that of the first token by ${percent(summary.ttft_ms.mean_absolute)}.`,
    `Running the plan that was predicted to be the best loses ${percent(summary.regret)} against the best one; the rank correlation is ${summary.rank_correlation.toFixed(3)}.`,
    `${processes} processes that compute at once take ${decode.toFixed(2)} times as long for a token and ${prefill.toFixed(2)} times for a prompt.`,
  ];
}

function renderPlans({ plans }: ValidationDocument): string {
  const columns = [
    { title: "plan" },
    { title: "split" },
    { title: "workers" },
    { title: "tokens/s predicted", align: "right" },
    { title: "measured", align: "right" },
    { title: "error", align: "right" },
    { title: "95%", align: "right" },
    { title: "first token ms", align: "right" },
    { title: "error", align: "right" },
    { title: "token to token ms", align: "right" },
    { title: "error", align: "right" },
  ] as const;
  return renderTable(
    columns,
    plans.map((plan) => [
      plan.name,
      plan.split,
      plan.order.map((worker) => worker + 1).join(","),
      plan.tokens_per_s.predicted.toFixed(2),
      plan.tokens_per_s.measured.mean.toFixed(2),
      signed(plan.tokens_per_s.error.mean),
      `${signed(plan.tokens_per_s.error.low)}..${signed(plan.tokens_per_s.error.high)}`,
      ...showTimes(plan.ttft_ms),
      ...showTimes(plan.itl_ms),
    ]),
  );
}

function showTimes({ predicted, measured, error }: Plan["itl_ms"]): readonly string[] {
  return [`${predicted.toFixed(1)} / ${measured.mean.toFixed(1)}`, signed(error.mean)];
}

function renderStages({ plans }: ValidationDocument): string {
  const columns = [
    { title: "plan" },
    { title: "stage" },
    { title: "worker", align: "right" },
    { title: "decode ms predicted", align: "right" },
    { title: "measured", align: "right" },
    { title: "error", align: "right" },
    { title: "prefill ms predicted", align: "right" },
    { title: "measured", align: "right" },
    { title: "error", align: "right" },
  ] as const;
  const rows = plans.flatMap((plan) =>
    plan.stages.map(({ decode_ms, prefill_ms }, index) => [
      index === 0 ? plan.name : "",
      plan.split.split(",")[index] ?? "",
      String((plan.order[index] ?? 0) + 1),
      ...showStage(decode_ms),
      ...showStage(prefill_ms),
    ]),
  );
  return renderTable(columns, rows);
}

function showStage(compared: Plan["itl_ms"] | null): readonly string[] {
  if (compared === null) return ["-", "-", "-"];
  return [compared.predicted.toFixed(2), compared.measured.mean.toFixed(2), signed(compared.error.mean)];
}

function renderGoals({ summary }: ValidationDocument): string {
  const columns = [{ title: "figure" }, { title: "value", align: "right" }, { title: "goal" }, { title: "" }] as const;
  return renderTable(
    columns,
    summary.goals.map(({ name, value, limit, side, met }) => [
      name,
      showGoal(name, value),
      `${side === "most" ? "<=" : ">="} ${showGoal(name, limit)}`,
      met ? "met" : "missed",
    ]),
  );
}

function showGoal(name: string, value: number): string {
  return name === "rank correlation" ? value.toFixed(3) : percent(value);
}

function percent(ratio: number): string {
  return `${(100 * ratio).toFixed(1)}%`;
}

function signed(ratio: number): string {
  return `${ratio >= 0 ? "+" : "-"}${percent(Math.abs(ratio))}`;
}
