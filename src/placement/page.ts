import { sayBytes } from "../profile/index.ts";
import type { ModelPlan } from "./plan-types.ts";
import { sayMs, sayNumber, sayShare } from "./quantities.ts";
import { describeModelPlan } from "./words.ts";

const COLORS = 8;
/** Cells of a strip; longer models share them. */
const CELLS_MAX = 512;

/** One page that needs nothing else: the words, the strip of units coloured by node, the tables. */
export function renderPlanPage(plan: ModelPlan): string {
  const title = `Plan for ${plan.model.name ?? plan.model.architecture}`;
  const names = plan.alone.map((row) => row.node).sort();
  const paint = (node: string): number => Math.max(0, names.indexOf(node)) % COLORS;
  const [head = "", ...rest] = describeModelPlan(plan);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>${escape(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escape(title)}</h1>
<p class="lead">${escape(head)}</p>
${plan.feasible ? renderStrip("The model's units, by node", plan.stages, plan.model.units, paint, true) : ""}
<ul>${rest.map((line) => `<li>${escape(line.trim())}</li>`).join("\n")}</ul>
${plan.feasible ? renderTables(plan, paint) : ""}
<p class="foot">${escape(plan.algorithm)}, ${sayMs(plan.solve_ms)}. Predictions; the words say where they lie outside what was measured.</p>
</main>
</body>
</html>
`;
}

interface Place {
  readonly node: string;
  readonly first: number;
  readonly end: number;
}

type Paint = (node: string) => number;

function renderStrip(label: string, stages: readonly Place[], units: number, paint: Paint, named: boolean): string {
  const words = stages.map((stage) => `${stage.node} ${stage.first}:${stage.end}`).join(", ");
  const step = Math.max(1, Math.ceil(units / CELLS_MAX));
  const parts = stages.map((stage) => {
    const count = stage.end - stage.first;
    const cells = Array.from({ length: Math.ceil(count / step) }, () => "<i></i>").join("");
    const name = named ? `<b>${escape(stage.node)} <small>${stage.first}:${stage.end}</small></b>` : "";
    return `<span class="part" style="flex-grow:${count}" title="${escape(`${stage.node}: units ${stage.first}:${stage.end}`)}"><span class="cells c${paint(stage.node)}">${cells}</span>${name}</span>`;
  });
  return `<div class="strip${named ? "" : " small"}" role="img" aria-label="${escape(`${label}: ${words}`)}">${parts.join("")}</div>`;
}

function renderTables(plan: ModelPlan, paint: Paint): string {
  const parts = [
    renderTable(
      "Stages",
      ["node", "units", "decode", "prefill chunk", "busy", "weights", "KV", "reserve", "of memory"],
      plan.stages.map((stage) => [
        stage.node,
        stage.units,
        sayMs(stage.decode_ms),
        sayMs(stage.prefill_ms),
        sayShare(stage.busy_ratio),
        sayBytes(stage.weights_bytes),
        sayBytes(stage.kv_bytes),
        sayBytes(stage.reserve_bytes),
        stage.memory_bytes === null ? "-" : sayBytes(stage.memory_bytes),
      ]),
    ),
    plan.baselines === undefined ? "" : renderBaselines(plan, plan.baselines, paint),
    renderTable(
      "Each machine alone",
      ["node", "tokens/s", "token to token", "lacks"],
      plan.alone.map((row) => [
        row.node,
        sayOrDash(row.tokens_per_s, sayNumber),
        sayOrDash(row.itl_ms, sayMs),
        row.fits ? "" : sayBytes(row.short_bytes),
      ]),
    ),
    renderTable(
      plan.objective === "pareto" ? "Other trade-offs" : "Plans nearby",
      ["what", "nodes", "split", "tokens/s", "token to token", "one stream alone"],
      plan.alternatives.map((row) => [
        row.what,
        row.order.join(", "),
        row.split,
        sayNumber(row.tokens_per_s),
        sayMs(row.itl_ms),
        sayMs(row.single_itl_ms),
      ]),
    ),
    ...(plan.candidates.length === 0
      ? []
      : [
          renderTable(
            "Sizes of micro-batches",
            ["rows", "in flight", "these cuts, tokens/s", "any cuts, at most"],
            plan.candidates.map((row) => [
              String(row.rows),
              String(row.in_flight),
              sayOrDash(row.tokens_per_s, sayNumber),
              sayNumber(row.best_possible_tokens_per_s),
            ]),
          ),
        ]),
  ];
  return parts.join("\n");
}

function renderBaselines(plan: ModelPlan, baselines: NonNullable<ModelPlan["baselines"]>, paint: Paint): string {
  const strip = (split: string | null, order: readonly string[]): string => {
    if (split === null) return "";
    const stages = split.split(",").map((units, index) => {
      const [first = 0, end = 0] = units.split(":").map(Number);
      return { node: order[index] ?? "", first, end };
    });
    return renderStrip("Units by node", stages, plan.model.units, paint, false);
  };
  const line = (cells: readonly string[]): string => `<tr>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
  const { predicted } = plan;
  const ours = line([
    "<b>noodle</b>",
    strip(plan.split, plan.order),
    sayNumber(predicted?.tokens_per_s ?? 0),
    sayMs(predicted?.itl_ms ?? 0),
    "1",
    "",
  ]);
  const rows = baselines.map((row) =>
    line([
      escape(row.name),
      strip(row.split, row.order),
      sayOrDash(row.tokens_per_s, sayNumber),
      sayOrDash(row.itl_ms, sayMs),
      sayOrDash(row.ours_better_by, sayNumber),
      escape(row.reason ?? row.rule),
    ]),
  );
  const head = [
    "rule",
    "units by node",
    "tokens/s",
    "token to token",
    "ours better by",
    "what it does, or why it can't be run",
  ];
  return `<section><h2>Against other rules</h2><div class="wide"><table><thead><tr>${head.map((cell) => `<th scope="col">${cell}</th>`).join("")}</tr></thead><tbody>${ours}${rows.join("\n")}</tbody></table></div></section>`;
}

function renderTable(title: string, head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return "";
  const body = rows.map((row) => `<tr>${row.map((cell) => `<td>${escape(cell)}</td>`).join("")}</tr>`).join("\n");
  return `<section><h2>${escape(title)}</h2><div class="wide"><table><thead><tr>${head.map((cell) => `<th scope="col">${escape(cell)}</th>`).join("")}</tr></thead><tbody>${body}</tbody></table></div></section>`;
}

function sayOrDash(value: number | null, say: (value: number) => string): string {
  return value === null ? "-" : say(value);
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escape(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? "");
}

const LIGHT = ["#1f77b4", "#c8701a", "#14866d", "#b5382f", "#9a5aa8", "#8a7a18", "#2b93b5", "#7b6a58"];
const DARK = ["#5aa7de", "#efa556", "#45bf9f", "#f07f70", "#c791d4", "#cdbb4f", "#8ed2ea", "#b7a48f"];
const vars = (colors: readonly string[]): string => colors.map((color, index) => `--c${index}:${color}`).join(";");

const STYLE = `
:root{color-scheme:light dark;--surface:#fcfcfa;--ink:#1d2126;--muted:#5c646e;--line:#dfe0da;${vars(LIGHT)}}
@media (prefers-color-scheme:dark){:root{--surface:#14171b;--ink:#e7e8e4;--muted:#a2a9b2;--line:#30363d;${vars(DARK)}}}
*{box-sizing:border-box}
body{margin:0;background:var(--surface);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:64rem;margin:0 auto;padding:1.5rem 1rem 3rem}
h1{font-size:1.5rem;margin:.2rem 0 .6rem;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:1.8rem 0 .5rem}
.lead{font-size:1.1rem}
li{margin:.25rem 0}
.strip{display:flex;gap:3px;margin:1.2rem 0}
.part{min-width:4px;flex-basis:0;overflow:hidden}
.part b{display:block;font-size:.85rem;white-space:nowrap;text-overflow:ellipsis;overflow:hidden}
.part small{font-weight:400;color:var(--muted)}
.cells{display:flex;height:2.4rem;gap:1px}
.cells i{flex:1 1 0;background:currentColor;min-width:0}
.strip.small{margin:0;min-width:12rem}
.strip.small .cells{height:.8rem;gap:0}
${LIGHT.map((_, index) => `.c${index}{color:var(--c${index})}`).join("")}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .7rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--muted);font-weight:600;white-space:nowrap}
.foot{color:var(--muted);font-size:.85rem;margin-top:2rem}
@media print{:root{color-scheme:light;--surface:#fff;--ink:#000}}
`;
