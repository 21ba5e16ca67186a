import type { LiveDocument } from "../metrics/index.ts";

const quantiles = (p50: number, p95 = p50 * 1.5): { n: number; p50: number; p95: number } => ({ n: 256, p50, p95 });

/** Live figures of three stages, the second of which holds the others back; for tests. */
export function makeLive(changes: Partial<LiveDocument> = {}): LiveDocument {
  const stage = (index: number, units: string, computeMs: number, share: number): LiveDocument["stages"][number] => ({
    stage: index,
    node: `node-${index}`,
    node_name: `host-${"abc"[index]}`,
    units,
    prefill: null,
    decode: {
      compute_ms: quantiles(computeMs),
      queue_ms: quantiles(0.02),
      serialize_ms: quantiles(0.05),
      hop_ms: index === 0 ? null : quantiles(0.4),
      share,
    },
    busy_ratio: share * 0.9,
  });
  return {
    schema: "noodle.live.v1",
    window_s: 10,
    window_steps: 256,
    tokens_per_s: { prompt: 140.2, generated: 18.25 },
    requests: { running: 2, waiting: 1, finished: 41, failed: 1 },
    ttft_ms: quantiles(120),
    itl_ms: quantiles(52.1),
    step_ms: { prefill: null, decode: quantiles(50.4) },
    last_step_age_ms: 4,
    stages: [stage(0, "0:8", 9.5, 0.19), stage(1, "8:24", 30.8, 0.61), stage(2, "24:34", 8.1, 0.17)],
    bottleneck: {
      phase: "decode",
      kind: "compute",
      stage: 1,
      node: "node-1",
      ms: 30.8,
      share: 0.61,
      words: "stage 1 on host-b takes 61% of a token: compute",
    },
    ...changes,
  };
}

/** The status document of three nodes, as it comes over the network. */
export function makeStatus(live: unknown = makeLive()) {
  const node = (index: number): { id: string; name: string; rss_bytes: number } => ({
    id: `node-${index}`,
    name: `host-${"abc"[index]}`,
    rss_bytes: (index + 1) * 300 * 2 ** 20,
  });
  const stage = (index: number, units: string): Record<string, unknown> => ({
    index,
    units,
    node: `node-${index}`,
    state: index === 2 ? "restarting" : "ready",
    kv_bytes: 64 * 2 ** 20,
    weights_bytes: 1,
  });
  return {
    schema: "noodle.status.v1",
    coordinator: {
      address: "10.0.0.5:7421",
      rss_bytes: 151 * 2 ** 20,
      epoch: 3,
      uptime_ms: 3_725_000,
      model: { path: "/models/tiny-q4.gguf", units: 34, bytes: 1 },
      context_tokens: 4096,
      parallel: 8,
    },
    health: { status: "ready", reason: null, error: null },
    nodes: [0, 1, 2].map(node),
    stages: [stage(0, "0:8"), stage(1, "8:24"), stage(2, "24:34")],
    sessions: [
      { prompt_tokens: 4096, generated_tokens: 1200 },
      { prompt_tokens: 900, generated_tokens: 30 },
    ],
    live,
  };
}
