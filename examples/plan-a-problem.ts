// Where to cut: an abstract problem of four unlike machines, planned, proven, and compared with the rules of others.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compareBaselines, describePlan, parseProblem, planProblem } from "noodlecore/planner";

const path = process.argv[2] ?? fileURLToPath(new URL("./problem.json", import.meta.url));
const problem = parseProblem(readFileSync(path, "utf8"));
const plan = await planProblem(problem, { nowMs: () => performance.now() });
for (const words of describePlan(problem, plan, [])) console.log(words);

console.log("\n| rule | stages | period, ms | ours is better by |\n|---|---|---|---|");
console.log(`| noodle | ${show(plan.stages)} | ${plan.period_ms?.toFixed(2)} | |`);
for (const { name, figures, reason, ratio } of compareBaselines(problem, plan)) {
  const period = reason === null ? (figures?.period_ms.toFixed(2) ?? "-") : `none: ${reason}`;
  const better = ratio === null ? "" : `${(100 * (ratio - 1)).toFixed(0)}%`;
  console.log(`| ${name} | ${show(figures?.stages ?? [])} | ${period} | ${better} |`);
}

function show(stages: readonly { readonly nodes: readonly string[]; readonly first: number; readonly end: number }[]) {
  return stages.map(({ nodes, first, end }) => `${nodes.join("+")} ${first}:${end}`).join(", ");
}
