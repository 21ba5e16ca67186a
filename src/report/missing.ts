import type { ReportMissing, ReportSection } from "./document.ts";
import type { ReportInputs } from "./inputs.ts";

/** What the page can't show, and what would show it. */
export function listMissing(inputs: ReportInputs, sections: readonly ReportSection[]): readonly ReportMissing[] {
  const charts = new Set(sections.flatMap((section) => section.charts.map(({ id }) => id)));
  const profile = inputs.profiles[0]?.document;
  const digest = inputs.run?.digest ?? null;
  const missing: ReportMissing[] = [];
  const need = (isMissing: boolean, what: string, how: string): void => {
    if (isMissing) missing.push({ what, how });
  };
  if (profile === undefined) {
    need(
      true,
      "Time, memory and limits of each unit, and the cost model",
      "Make a profile, noodle profile MODEL --out RUN, and report on the folder again.",
    );
  } else {
    need(
      !profile.units.some(({ name, role }) => name.startsWith("blk.") && role !== "total"),
      "Time by role (attention, MLP, norms)",
      "Profile with noodle profile MODEL --level role.",
    );
    need(
      !charts.has("roofline"),
      "The roofline",
      "The profile names no measured bandwidth and compute rate: make it again.",
    );
    need(
      !charts.has("cost-curves"),
      "Cost against rows and context",
      "Profile more than one cell: --decode-rows 1,2,4,8 --prefill 16,64,256 --contexts 0,512,2048.",
    );
    need(
      profile.skipped.length > 0,
      `${profile.skipped.length} cells of the profile`,
      `They were not measured: ${profile.skipped[0]?.reason ?? ""}. Give a larger --budget.`,
    );
    need(
      profile.partial,
      "The rest of the profile",
      `It is partial: ${profile.partial_reason ?? "it was ended early"}.`,
    );
  }
  if (inputs.run === null) {
    need(
      true,
      "What a running cluster took: pipeline, latencies, prediction against measurement",
      "Run noodle demo, or a cluster with logs in its run folder, and report on that folder.",
    );
    return missing;
  }
  need(
    digest === null,
    "The pipeline's timeline, and latencies along the run",
    "The folder holds no logs: keep its logs folder with the JSONL streams beside plan.json.",
  );
  if (digest === null) return missing;
  need(digest.steps === 0, "The pipeline's timeline", "The logs hold no steps: they are in the step stream.");
  need(
    !charts.has("heat-map"),
    "Units along the run",
    "No step was looked into: let the cluster sample layers, or trace a request with noodle trace.",
  );
  need(
    profile !== undefined && !charts.has("predicted-measured"),
    "Prediction against measurement",
    "The profile's units are not those that ran: profile the same model, all of its units.",
  );
  return missing;
}
