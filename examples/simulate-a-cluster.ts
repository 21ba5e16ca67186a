// What a workload would meet: a model planned over the machines of cluster.yaml, then 200 requests, event by event.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { openGguf } from "noodlecore";
import { describePlacementModel, listProfilePaths, planModel, readCluster, resolveNodes } from "noodlecore/placement";
import { readProfile } from "noodlecore/profile";
import { generateWorkload, makeSimCluster, simulate } from "noodlecore/sim";

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const file = await openGguf(here("../models/storyteller-q8_0.gguf"));
const model = describePlacementModel(file.header, null);
await file.close();
const cluster = readCluster(readFileSync(here("cluster.yaml"), "utf8"));
const byPath = new Map(listProfilePaths(cluster).map((path) => [path, readProfile(readFileSync(here(path)))]));
const { nodes } = resolveNodes(cluster, { byPath, byNode: new Map() }, model);
const workload = { streams: 8, contextTokens: 512 };
const plan = await planModel({ model, cluster, nodes, objective: "throughput", workload }, { nowMs: () => 0 });
const tokens = (count: number) => ({ type: "fixed", tokens: count }) as const;
const arrivals = { type: "closed", streams: 8 } as const;
const requests = generateWorkload({ requests: 200, prompt: tokens(128), generated: tokens(64), arrivals });
const result = simulate(makeSimCluster({ plan, cluster, nodes }), requests, { seed: 1 });
console.log(`${plan.split} on ${plan.order.join(", ")}; planned: ${plan.predicted?.tokens_per_s.toFixed(0)} tokens/s`);
console.log(`simulated: ${result.throughput.tokens_per_s.toFixed(0)} tokens/s, prompts read beside`);
console.log(`first token ${result.ttft_ms?.p50.toFixed(1)} ms, token to token ${result.itl_ms?.p50.toFixed(2)} ms`);
console.log(`the same on every machine: ${result.event_hash}`);
