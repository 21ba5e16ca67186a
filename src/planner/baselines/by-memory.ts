import { type Baseline, countWeights, draftCounts, listMemories, NEEDS_MEMORY, roundShares } from "./baseline.ts";

/** llama.cpp: places along the cumulative shares of free memory; the output is one place more than the blocks. */
export const llamaCpp: Baseline = {
  name: "llama.cpp",
  rule: "units by share of free memory, in the order of the list (llama.cpp's default split)",
  plan: (instance) => {
    const memories = listMemories(instance);
    if (memories === null) return NEEDS_MEMORY;
    const total = memories.reduce((a, b) => a + b, 0);
    const places = Math.max(1, instance.units - 1);
    const counts = memories.map(() => 0);
    for (let place = 0; place < places; place++) {
      let sum = 0;
      let device = 0;
      while (device < memories.length - 1) {
        sum += (memories[device] ?? 0) / total;
        if (sum > place / places) break;
        device += 1;
      }
      // The embedding goes with the first place.
      counts[device] = (counts[device] ?? 0) + (place === 0 ? instance.units - places + 1 : 1);
    }
    return draftCounts(counts.map((count, node) => ({ node, count })));
  },
};

/** llama.cpp with --fit: the last device takes what it can hold, then the one before. */
export const llamaCppFit: Baseline = {
  name: "llama.cpp-fit",
  rule: "fill the nodes from the last to the first with what their memory holds (llama.cpp --fit)",
  plan: (instance) => {
    if (listMemories(instance) === null) return NEEDS_MEMORY;
    let end = instance.units;
    const shares: { node: number; count: number }[] = [];
    for (let node = instance.nodes.length - 1; node >= 0 && end > 0; node--) {
      let first = end;
      const { memoryBytes } = instance.node(node);
      while (first > 0 && instance.stageBytes(first - 1, end) <= memoryBytes) first--;
      shares.unshift({ node, count: end - first });
      end = first;
    }
    if (end > 0) return { reason: `units 0:${end} are left over: no memory for them` };
    return draftCounts(shares);
  },
};

/** exo's first rule: a ring weighted by memory, the largest first. */
export const exoRing: Baseline = {
  name: "exo-ring",
  rule: "units by share of total memory, largest node first (exo's memory-weighted ring)",
  plan: (instance) => {
    const memories = listMemories(instance);
    if (memories === null) return NEEDS_MEMORY;
    const total = memories.reduce((a, b) => a + b, 0);
    const ids = instance.problem.nodes.map((node) => node.id);
    const order = [...memories.keys()].sort(
      (a, b) => (memories[b] ?? 0) - (memories[a] ?? 0) || ((ids[a] ?? "") < (ids[b] ?? "") ? 1 : -1),
    );
    let start = 0;
    let at = 0;
    const shares = order.map((node, place) => {
      const end = Math.round((start + (memories[node] ?? 0) / total) * 1e5) / 1e5;
      const to =
        place === order.length - 1 ? instance.units : Math.min(instance.units, Math.floor(end * instance.units));
      const count = Math.max(0, to - at);
      start = end;
      at = Math.max(at, to);
      return { node, count };
    });
    return draftCounts(shares);
  },
};

/** exo's later rule: the fewest nodes whose memory holds the weights, by share of memory, at least one unit each. */
export const exo: Baseline = {
  name: "exo",
  rule: "the fewest nodes whose memory holds the weights, units by share of memory (exo 1.x)",
  plan: (instance) => {
    const memories = listMemories(instance);
    if (memories === null) return NEEDS_MEMORY;
    const sizeBytes = countWeights(instance);
    const largest = [...memories.keys()].sort((a, b) => (memories[b] ?? 0) - (memories[a] ?? 0) || a - b);
    let count = 1;
    const sumOf = (nodes: readonly number[]): number => nodes.reduce((sum, node) => sum + (memories[node] ?? 0), 0);
    while (count < largest.length && sumOf(largest.slice(0, count)) < sizeBytes) count++;
    const nodes = largest.slice(0, Math.min(count, instance.units)).sort((a, b) => a - b);
    const total = sumOf(nodes);
    if (total < sizeBytes) return { reason: "all memory together is less than the weights" };
    const shares = nodes.map((node) => ((memories[node] ?? 0) / total) * instance.units);
    const counts = roundShares(
      shares,
      instance.units,
      nodes.map(() => instance.units),
    );
    for (let place = counts.indexOf(0); place !== -1; place = counts.indexOf(0)) {
      const most = counts.indexOf(Math.max(...counts));
      counts[most] = (counts[most] ?? 0) - 1;
      counts[place] = 1;
    }
    const short = nodes.find(
      (node, place) => (sizeBytes * (counts[place] ?? 0)) / instance.units > (memories[node] ?? 0),
    );
    if (short !== undefined) return { reason: `its share does not fit node ${instance.problem.nodes[short]?.id}` };
    return draftCounts(nodes.map((node, place) => ({ node, count: counts[place] ?? 0 })));
  },
};
