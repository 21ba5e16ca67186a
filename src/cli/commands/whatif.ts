import type { Command } from "commander";
import { NoodleError } from "../../common/index.ts";
import { simulate, type SimulationDocument, type TokenCount, type Workload } from "../../sim/index.ts";
import { type ClusterChanges, parseSlowdown, readClusterChange } from "../cluster-changes.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import type { CliHost } from "../host.ts";
import { type Placement, readPlacement } from "../plan-sources.ts";
import { retypeCosts, retypeModel, slowCosts } from "../retype-model.ts";
import { makePlan, type PlannedModel, prepareCluster, readPlannedModel, type SimSource } from "../sim-source.ts";
import { readWorkload } from "../sim-workload.ts";
import { compareCases, renderCases, type WhatifCase } from "../whatif-view.ts";
import { addSimSourceOptions } from "./simulate.ts";

interface WhatifOptions extends SimSource, ClusterChanges {
  readonly json?: boolean;
  readonly requests?: number;
  readonly promptTokens?: TokenCount;
  readonly genTokens?: TokenCount;
  readonly seed: number;
}

export function addWhatif(program: Command, host: CliHost): void {
  const command = defineCommand(program, {
    usage: "whatif <plan-or-model>",
    summary: "predict what a change of the cluster or the model would bring, planned anew and simulated",
    examples: [
      "noodle whatif plan.json --cluster cluster.yaml --add node.yaml --streams 16",
      "noodle whatif model.gguf --cluster cluster.yaml --slow desk=2x --link desk,attic=5:100",
      "noodle whatif model.gguf --cluster cluster.yaml --remove attic --type q8_0 --json",
    ],
  });
  const collect = (text: string, before: readonly string[]): readonly string[] => [...before, text];
  const none: readonly string[] = [];
  addSimSourceOptions(command)
    .option("--add <file>", "a node more, written as in the cluster's file; repeatable", collect, none)
    .option("--remove <node>", "a node less; repeatable", collect, none)
    .option("--link <a,b=ms:mbps>", "other latency and bandwidth, both ways; repeatable", collect, none)
    .option("--slow <node=2x>", "a node on which everything takes so many times as long; repeatable", collect, none)
    .option("--type <type>", "the weights in another type, such as q8_0")
    .action((target: string, options: WhatifOptions) => whatif(openContext(host, options), target, options));
}

async function whatif(context: CommandContext, target: string, options: WhatifOptions): Promise<void> {
  const { out } = context;
  const { add, remove, link, slow, type } = options;
  const changes = [
    ...add.map((file) => `with ${file}`),
    ...remove.map((node) => `without ${node}`),
    ...link.map((text) => `link ${text}`),
    ...slow.map((text) => `slower ${text}`),
    ...(type === undefined ? [] : [`weights ${type}`]),
  ];
  if (changes.length === 0)
    throw new NoodleError("USAGE", "say what changes: --add, --remove, --link, --slow or --type");
  const now = await readPlannedModel(context, target, options);
  const changed = await changePlacement(context, now.placement, options);
  const { streams, context_tokens: contextTokens, determinism } = now.plan.workload;
  const { workload, words } = await readWorkload(options, options.streams ?? streams);
  const plan = await makePlan(context, changed, { streams, contextTokens, determinism });
  const run = async (what: string, planned: PlannedModel): Promise<WhatifCase> => ({
    what,
    split: planned.plan.split ?? "",
    order: planned.plan.order,
    policy: planned.plan.policy,
    simulation: await simulateCase(context, planned, workload, options.seed),
  });
  const names = new Set(changed.nodes.map(({ name }) => name));
  // Another type needs other stage files, so that nothing of the old plan is kept.
  const canStay = type === undefined && now.plan.order.every((name) => names.has(name)) && plan.split !== null;
  const isSame = plan.split === now.plan.split && plan.order.join() === now.plan.order.join();
  const cases = [
    await run("now", now),
    ...(canStay && !isSame ? [await run("changed, plan as it is", { placement: changed, plan: now.plan })] : []),
    await run(isSame ? "changed, the same plan" : "changed, planned anew", { placement: changed, plan }),
  ];
  const { words: verdict, ratios } = compareCases(changes, cases);
  out.document({
    schema: "noodle.whatif.v1",
    changes,
    workload: words,
    words: verdict,
    cases: cases.map((each, index) => ({ ...each, ratios: ratios[index] })),
    notes: changed.notes,
  });
  out.line(`${words}.`);
  for (const line of verdict) out.line(line);
  out.data(`\n${renderCases(cases, ratios)}`);
  for (const note of changed.notes) out.note(note);
}

async function simulateCase(
  context: CommandContext,
  planned: PlannedModel,
  workload: Workload,
  seed: number,
): Promise<SimulationDocument> {
  return simulate(await prepareCluster(context, planned), workload, { seed });
}

/** Cluster, model and costs as they would be. */
async function changePlacement(context: CommandContext, before: Placement, options: WhatifOptions): Promise<Placement> {
  const { cluster, coordinator, type } = options;
  const slowdowns = options.slow.map(parseSlowdown);
  const path = before.model.path;
  if (path === null) throw new NoodleError("USAGE", "the model has no file; give it with --model");
  const change = await readClusterChange(options);
  const placement = await readPlacement(
    {
      model: path,
      ...(cluster === undefined ? {} : { cluster }),
      ...(coordinator === undefined ? {} : { coordinator }),
      profiles: options.profile.filter((text) => !options.remove.some((name) => text.startsWith(`${name}=`))),
      strict: false,
      change,
    },
    context,
  );
  for (const { node } of slowdowns) {
    if (placement.nodes.some(({ name }) => name === node)) continue;
    throw new NoodleError("USAGE", `--slow ${node}: there is no node of that name`);
  }
  const model = type === undefined ? placement.model : retypeModel(placement.model, type);
  const nodes = placement.nodes.map((node) => {
    const factor = slowdowns.reduce((product, slow) => (slow.node === node.name ? product * slow.factor : product), 1);
    const costs = type === undefined ? node.costs : retypeCosts(node.costs, placement.model, model);
    return { ...node, costs: factor === 1 ? costs : slowCosts(costs, factor) };
  });
  return { ...placement, model, nodes };
}
