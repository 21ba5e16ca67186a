import { NoodleError } from "../common/index.ts";
import type { SimCluster, SimLink, SimNode, SimPipeline } from "./types.ts";

const MOST_WINDOW = 65_536;
const MOST_SLOTS = 65_536;
const MOST_NOISE = 4;

/** @throws SIMULATION_INVALID naming what has no sense */
export function checkCluster({ nodes, links, pipelines, incidents = [], defaultLink }: SimCluster): void {
  requireThat(new Set(nodes.map(({ id }) => id)).size === nodes.length, "two nodes have the same id");
  for (const node of nodes) checkNode(node);
  for (const link of links) checkLink(link);
  if (defaultLink !== undefined) checkLink({ from: "any node", to: "any other", ...defaultLink });
  checkPipelines(pipelines);
  for (const incident of incidents) {
    const times = [incident.atMs, incident.pauseMs, incident.type === "fail" ? incident.detectMs : 0];
    requireThat(times.every(isTime), `an incident at ${incident.atMs} ms has a time that is none`);
    if (incident.pipelines !== undefined) checkPipelines(incident.pipelines);
    if (incident.type !== "fail") continue;
    requireThat(
      nodes.some(({ id }) => id === incident.node),
      `node "${incident.node}", which is to fail, is not there`,
    );
  }
}

function checkNode({ id, slowdowns = [], noise = 0 }: SimNode): void {
  requireThat(noise >= 0 && noise <= MOST_NOISE, `node "${id}": noise ${noise}, it must be from 0 to ${MOST_NOISE}`);
  checkOrder(slowdowns, `node "${id}": slowdowns`);
  for (const { factor } of slowdowns) requireThat(isPositive(factor), `node "${id}": a slowdown by ${factor}`);
}

function checkLink({ from, to, latencyMs, bytesPerMs, jitterMs = 0, loss, changes = [] }: SimLink): void {
  const name = `link from "${from}" to "${to}"`;
  checkOrder(changes, `${name}: changes`);
  for (const state of [{ latencyMs, bytesPerMs }, ...changes]) {
    requireThat(isTime(state.latencyMs), `${name}: latency ${state.latencyMs} ms`);
    requireThat(state.bytesPerMs > 0, `${name}: ${state.bytesPerMs} bytes per ms`);
  }
  requireThat(isTime(jitterMs), `${name}: jitter ${jitterMs} ms`);
  if (loss === undefined) return;
  requireThat([loss.burstMs, loss.retransmitMs].every(isTime), `${name}: a time of its losses is none`);
  requireThat(loss.ratio >= 0 && loss.ratio < 1, `${name}: loss ratio ${loss.ratio}`);
}

function checkPipelines(pipelines: readonly SimPipeline[]): void {
  requireThat(pipelines.length > 0, "there is no pipeline");
  for (const { stages, policy, contextTokens, kvTokens, window, openMs } of pipelines) {
    requireThat(stages.length > 0, "a pipeline has no stage");
    requireThat(isCount(policy.slots, MOST_SLOTS), `${policy.slots} slots, from 1 to ${MOST_SLOTS}`);
    requireThat(isCount(window, MOST_WINDOW), `a window of ${window} micro-batches, from 1 to ${MOST_WINDOW}`);
    requireThat(isCount(contextTokens, Number.MAX_SAFE_INTEGER), `a context of ${contextTokens} tokens`);
    requireThat(kvTokens === null || kvTokens >= 0, `KV for ${kvTokens} tokens`);
    requireThat(isTime(openMs), `${openMs} ms for opening a session`);
    for (const [name, rows] of [
      ["decodeInFlight", policy.decodeInFlight],
      ["maxDecodeRows", policy.maxDecodeRows],
      ["prefillRows", policy.prefillRows],
      ["mixedPrefillRows", policy.mixedPrefillRows],
    ] as const)
      requireThat(isCount(rows, Number.MAX_SAFE_INTEGER), `the policy's ${name} is ${rows}, at least 1 is needed`);
    for (const { bytesPerRow, bytesPerFrame } of stages)
      requireThat(isTime(bytesPerRow) && isTime(bytesPerFrame), "a stage gets less than no bytes");
  }
}

function checkOrder(times: readonly { readonly atMs: number }[], what: string): void {
  const ordered = times.every(({ atMs }, i) => isTime(atMs) && atMs >= (times[i - 1]?.atMs ?? 0));
  requireThat(ordered, `${what} are not in the order of their times`);
}

function isTime(value: number): boolean {
  return Number.isFinite(value) && value >= 0;
}

function isPositive(value: number): boolean {
  return Number.isFinite(value) && value > 0;
}

function isCount(value: number, most: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= most;
}

function requireThat(condition: boolean, words: string): void {
  if (!condition) throw new NoodleError("SIMULATION_INVALID", words);
}
