import { z } from "zod";
import { NoodleError } from "../common/index.ts";
import type { LiveDocument, LiveStage } from "../metrics/index.ts";
import { readLive } from "./live-schema.ts";
import { measurePlan, type MeasuredPlan } from "./plan-status.ts";

const MAX_STAGES = 4096;

/** What `top` takes from a `noodle.status.v1`, wherever it came from. */
const statusSchema = z.object({
  schema: z.literal("noodle.status.v1"),
  coordinator: z.object({
    address: z.string(),
    rss_bytes: z.number(),
    cpu_ratio: z.number().nullish(),
    epoch: z.number().nullable(),
    uptime_ms: z.number(),
    model: z.object({ path: z.string(), units: z.number() }),
    context_tokens: z.number(),
    parallel: z.number(),
  }),
  health: z.object({ status: z.string(), reason: z.string().nullable() }),
  nodes: z.array(z.object({ id: z.string(), name: z.string(), rss_bytes: z.number() })).max(MAX_STAGES),
  stages: z
    .array(
      z.object({
        index: z.number(),
        units: z.string(),
        node: z.string().nullable(),
        state: z.string(),
        kv_bytes: z.number(),
        engine_busy_ratio: z.number().nullish(),
      }),
    )
    .max(MAX_STAGES),
  sessions: z.array(z.object({ prompt_tokens: z.number(), generated_tokens: z.number() })),
  plan: z
    .object({
      predicted: z
        .object({
          period_ms: z.number().nullable(),
          latency_ms: z.number().nullable(),
          tokens_per_s: z.number().nullable(),
        })
        .nullish(),
    })
    .nullish(),
  live: z.unknown().optional(),
});

type TopStatus = z.infer<typeof statusSchema>;

/** `noodle.top.v1`: one moment of a running cluster. */
export interface TopDocument {
  readonly schema: "noodle.top.v1";
  readonly coordinator: {
    readonly address: string;
    readonly model: string;
    readonly units: number;
    readonly epoch: number | null;
    readonly uptime_ms: number;
    readonly rss_bytes: number;
    /** Part of its machine's CPU time; null while unknown. */
    readonly cpu_ratio: number | null;
    readonly context_tokens: number;
    readonly parallel: number;
  };
  readonly health: { readonly status: string; readonly reason: string | null };
  /** Null when the coordinator keeps no live figures. */
  readonly live: Pick<
    LiveDocument,
    "tokens_per_s" | "requests" | "ttft_ms" | "itl_ms" | "step_ms" | "last_step_age_ms" | "window_s" | "window_steps"
  > | null;
  /** What the plan in force promises, and what became of it; null where nobody planned it. */
  readonly plan: {
    readonly predicted: NonNullable<NonNullable<TopStatus["plan"]>["predicted"]>;
    readonly measured: MeasuredPlan | null;
  } | null;
  /** What the stages' times are of: decode as soon as there was one. */
  readonly phase: "prefill" | "decode";
  readonly stages: readonly TopStage[];
  readonly bottleneck: LiveDocument["bottleneck"];
}

export interface TopStage {
  readonly stage: number;
  readonly units: string;
  readonly node: string | null;
  readonly node_name: string | null;
  readonly state: string;
  readonly times: LiveStage["decode"];
  /** As the holder says of its engine thread; where it says nothing, by the steps that came through. */
  readonly busy_ratio: number | null;
  /** Of `kv_bytes`, in proportion to the positions that open sessions use. */
  readonly kv_used_bytes: number;
  readonly kv_bytes: number;
  readonly rss_bytes: number | null;
}

/** @param value a status document as it came. @throws PROTOCOL_MISMATCH when it is none */
export function describeTop(value: unknown, from: string): TopDocument {
  const result = statusSchema.safeParse(value);
  if (!result.success) {
    const issue = result.error.issues[0];
    const where = issue === undefined ? "" : `: ${issue.path.join(".")} ${issue.message}`;
    throw new NoodleError("PROTOCOL_MISMATCH", `${from} answered with no noodle.status.v1${where}`);
  }
  const status = result.data;
  const live = readLive(status.live);
  const { coordinator, health } = status;
  const predicted = status.plan?.predicted ?? null;
  const hasDecoded = live?.stages.some((stage) => stage.decode !== null) === true;
  const phase = !hasDecoded && live?.stages.some((stage) => stage.prefill !== null) === true ? "prefill" : "decode";
  return {
    schema: "noodle.top.v1",
    coordinator: {
      address: coordinator.address,
      model: coordinator.model.path,
      units: coordinator.model.units,
      epoch: coordinator.epoch,
      uptime_ms: coordinator.uptime_ms,
      rss_bytes: coordinator.rss_bytes,
      cpu_ratio: coordinator.cpu_ratio ?? null,
      context_tokens: coordinator.context_tokens,
      parallel: coordinator.parallel,
    },
    health,
    live: live === null ? null : pickLive(live),
    plan: predicted === null ? null : { predicted, measured: measurePlan(live) },
    phase,
    stages: status.stages.map((stage) => describeStage(status, live, stage, phase)),
    bottleneck: live?.bottleneck ?? null,
  };
}

function pickLive(live: LiveDocument): TopDocument["live"] {
  const { tokens_per_s, requests, ttft_ms, itl_ms, step_ms, last_step_age_ms, window_s, window_steps } = live;
  return { tokens_per_s, requests, ttft_ms, itl_ms, step_ms, last_step_age_ms, window_s, window_steps };
}

function describeStage(
  status: TopStatus,
  live: LiveDocument | null,
  stage: TopStatus["stages"][number],
  phase: TopDocument["phase"],
): TopStage {
  const node = status.nodes.find((candidate) => candidate.id === stage.node);
  // Figures of another plan's holder are not this one's.
  const figures = live?.stages.find(
    (candidate) => candidate.stage === stage.index && (candidate.node === stage.node || candidate.node === ""),
  );
  return {
    stage: stage.index,
    units: stage.units,
    node: stage.node,
    node_name: node?.name ?? stage.node,
    state: stage.state,
    times: figures?.[phase] ?? null,
    busy_ratio: stage.engine_busy_ratio ?? figures?.busy_ratio ?? null,
    kv_used_bytes: stage.kv_bytes * kvUsage(status),
    kv_bytes: stage.kv_bytes,
    rss_bytes: node?.rss_bytes ?? null,
  };
}

function kvUsage({ coordinator, sessions }: TopStatus): number {
  const capacity = coordinator.context_tokens * coordinator.parallel;
  const used = sessions.reduce((sum, session) => sum + session.prompt_tokens + session.generated_tokens, 0);
  return capacity <= 0 ? 0 : Math.min(1, Math.max(0, used / capacity));
}
