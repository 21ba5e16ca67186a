import { must } from "../common/index.ts";
import type { ModelPlanPolicy } from "../placement/index.ts";
import type { SimulationDocument } from "../sim/index.ts";
import { formatMs } from "./quantities.ts";
import { renderTable } from "./table.ts";

/** A plan on a cluster, simulated. */
export interface WhatifCase {
  /** `now`, and what would be. */
  readonly what: string;
  readonly split: string;
  readonly order: readonly string[];
  readonly policy: ModelPlanPolicy | null;
  readonly simulation: SimulationDocument;
}

/** Against the first case; 1.2 = a fifth more, of times as of tokens. */
export interface CaseRatios {
  readonly tokens_per_s: number | null;
  readonly itl_p50: number | null;
  readonly ttft_p50: number | null;
  readonly e2e_p50: number | null;
}

/** A difference smaller than this is none. */
const SAME = 0.01;

export function compareCases(
  changes: readonly string[],
  cases: readonly WhatifCase[],
): { readonly words: readonly string[]; readonly ratios: readonly CaseRatios[] } {
  const [first, last] = [must(cases[0], "case"), must(cases.at(-1), "case")];
  const ratios = cases.map(({ simulation }) => measureRatios(first.simulation, simulation));
  const ratio = must(ratios.at(-1), "case").tokens_per_s ?? 1;
  const itl = must(ratios.at(-1), "case").itl_p50 ?? 1;
  const words = [
    `${changes.join(", ")}: ${sayRate(first)} become ${sayRate(last)} (${sayRatio(ratio)}); from token to token ${formatMs(first.simulation.itl_ms?.p50 ?? null)} ms become ${formatMs(last.simulation.itl_ms?.p50 ?? null)} ms (${sayRatio(itl)}).`,
    ...(last.split === first.split && last.order.join() === first.order.join()
      ? ["The plan stays as it is."]
      : [
          `The plan becomes ${last.split} on ${last.order.join(", ")}; it was ${first.split} on ${first.order.join(", ")}.`,
        ]),
    ...(cases.length > 2 ? [sayPlanning(must(cases[1], "case"), last)] : []),
  ];
  return { words, ratios };
}

/** Columns for the cases, each figure with its ratio to the first. */
export function renderCases(cases: readonly WhatifCase[], ratios: readonly CaseRatios[]): string {
  const rows: readonly {
    readonly name: string;
    readonly read: (one: WhatifCase) => string;
    readonly ratio?: keyof CaseRatios;
  }[] = [
    { name: "tokens/s", read: (one) => one.simulation.throughput.tokens_per_s.toFixed(1), ratio: "tokens_per_s" },
    { name: "token to token p50 ms", read: (one) => formatMs(one.simulation.itl_ms?.p50 ?? null), ratio: "itl_p50" },
    { name: "token to token p99 ms", read: (one) => formatMs(one.simulation.itl_ms?.p99 ?? null) },
    { name: "first token p50 ms", read: (one) => formatMs(one.simulation.ttft_ms?.p50 ?? null), ratio: "ttft_p50" },
    { name: "whole request p50 ms", read: (one) => formatMs(one.simulation.e2e_ms?.p50 ?? null), ratio: "e2e_p50" },
    { name: "busiest stage", read: sayBusiest },
    { name: "stages", read: (one) => one.split },
    { name: "nodes", read: (one) => one.order.join(", ") },
  ];
  return renderTable(
    [{ title: "" }, ...cases.map(({ what }) => ({ title: what, align: "right" as const }))],
    rows.map(({ name, read, ratio }) => [
      name,
      ...cases.map((one, index) => {
        const value = ratio === undefined ? null : (ratios[index]?.[ratio] ?? null);
        return index === 0 || value === null ? read(one) : `${read(one)} (x ${value.toFixed(2)})`;
      }),
    ]),
  );
}

function measureRatios(before: SimulationDocument, after: SimulationDocument): CaseRatios {
  const divide = (a: number | undefined, b: number | undefined): number | null =>
    a === undefined || b === undefined || b === 0 ? null : a / b;
  return {
    tokens_per_s: divide(after.throughput.tokens_per_s, before.throughput.tokens_per_s),
    itl_p50: divide(after.itl_ms?.p50, before.itl_ms?.p50),
    ttft_p50: divide(after.ttft_ms?.p50, before.ttft_ms?.p50),
    e2e_p50: divide(after.e2e_ms?.p50, before.e2e_ms?.p50),
  };
}

function sayPlanning(kept: WhatifCase, fresh: WhatifCase): string {
  const ratio = fresh.simulation.throughput.tokens_per_s / kept.simulation.throughput.tokens_per_s;
  if (Math.abs(ratio - 1) < SAME) return "Planning anew brings nothing against the plan as it is.";
  return `Planning anew brings ${sayRatio(ratio)} tokens/s against the plan as it is.`;
}

function sayRate({ simulation }: WhatifCase): string {
  return `${simulation.throughput.tokens_per_s.toFixed(1)} tokens/s`;
}

function sayRatio(ratio: number): string {
  return Math.abs(ratio - 1) < SAME ? "the same" : `x ${ratio.toFixed(2)}`;
}

function sayBusiest({ simulation }: WhatifCase): string {
  const busiest = simulation.stages.reduce((a, b) => (b.busy_ratio > a.busy_ratio ? b : a));
  return `${busiest.node} ${(100 * busiest.busy_ratio).toFixed(0)}%`;
}
