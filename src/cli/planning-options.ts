import type { Command } from "commander";
import { NoodleError } from "../common/index.ts";
import type { LoopMode } from "../loop/index.ts";

/** Where a cluster's plan comes from, and who keeps it right. */
export interface PlanningOptions {
  /** A file, or `auto`. */
  readonly plan?: string;
  readonly loop?: LoopMode;
  readonly split?: string;
  readonly profile?: readonly string[];
  readonly strict?: boolean;
}

const MODES: readonly string[] = ["off", "advise", "auto"] satisfies LoopMode[];

export function addPlanningOptions(command: Command): Command {
  return command
    .option(
      "--plan <file>",
      "split, nodes and policy as `noodle plan -o` wrote them, or auto: planned from the profiles once all workers are there (default: auto when profiles of nodes are given)",
    )
    .option(
      "--loop <mode>",
      "watch steps against the profiles and re-plan: off, advise or auto (default: off without profiles; auto, or advise where workers share a machine)",
      readMode,
    );
}

/** The plan is to be made here. */
export function isPlannedHere({ plan, split, profile = [] }: PlanningOptions): boolean {
  if (plan !== undefined) return plan === "auto";
  return split === undefined && profile.some((text) => text.indexOf("=") > 0);
}

/** @throws NoodleError `USAGE` for options that do not go together */
export function checkPlanning(options: PlanningOptions, models: readonly string[]): void {
  const { plan, split, loop, profile = [] } = options;
  if (plan !== undefined && split !== undefined) {
    throw new NoodleError("USAGE", `--plan ${plan} has a split of its own: leave out --split ${split}, or --plan`);
  }
  if (models.length > 1 && (plan !== undefined || (loop !== undefined && loop !== "off"))) {
    throw new NoodleError("USAGE", `--plan and --loop are of one model, ${models.length} are given`);
  }
  if (profile.length > 0) return;
  const wanted = plan === "auto" ? "--plan auto" : loop === "auto" || loop === "advise" ? `--loop ${loop}` : null;
  if (wanted === null) return;
  throw new NoodleError(
    "USAGE",
    `${wanted} needs a profile of every node: --profile NODE=FILE, once for each (noodle profile makes them)`,
  );
}

function readMode(text: string): LoopMode {
  if (MODES.includes(text)) return text as LoopMode;
  throw new NoodleError("USAGE", `--loop "${text}" is none of ${MODES.join(", ")}`);
}
