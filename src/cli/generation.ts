import type { FinishReason, GenerateEvent, LayerKvHash, StageStats } from "../cluster/coordinator/index.ts";
import { must } from "../common/index.ts";
import type { Document } from "./output.ts";
import { formatMs } from "./quantities.ts";
import { renderTable } from "./table.ts";

type EventOf<Type extends GenerateEvent["type"]> = Extract<GenerateEvent, { readonly type: Type }>;

/** The log-probability of a generated token, and of the likeliest ones in its place. */
export type GeneratedLogprobs = NonNullable<EventOf<"token">["logprobs"]>;

/** What of a coordinator's events is looked at here, and comes through its gRPC service too. */
export type GenerationEvent =
  | Pick<EventOf<"started">, "type" | "sessionId" | "promptTokenIds">
  | EventOf<"prompt">
  | EventOf<"token">
  | Pick<EventOf<"done">, "type" | "finishReason" | "ttftMs" | "decodeTokensPerSec" | "stages" | "kv" | "stepRows">;

/** A generation from start to end, wherever it ran. */
export interface Generation {
  readonly promptTokenIds: readonly number[];
  readonly tokenIds: readonly number[];
  readonly text: string;
  readonly finishReason: FinishReason;
  readonly ttftMs: number;
  readonly decodeTokensPerSec: number;
  readonly stages: readonly StageStats[];
  /** One for each token; empty unless they were asked for. */
  readonly logits: readonly Float32Array[];
  /** One for each token; empty unless they were asked for. */
  readonly logprobs: readonly GeneratedLogprobs[];
  /** Of the prompt's tokens from the second on; empty unless they were asked for. */
  readonly promptLogprobs: readonly GeneratedLogprobs[];
  readonly kv: readonly LayerKvHash[];
  /** Rows of each step, in order. */
  readonly stepRows: readonly number[];
}

/** Reads a generation to its end; text goes on as it comes. */
export async function collectGeneration(
  events: AsyncIterable<GenerationEvent>,
  onText: (text: string) => void,
): Promise<Generation> {
  let promptTokenIds: readonly number[] = [];
  const tokenIds: number[] = [];
  const logits: Float32Array[] = [];
  const logprobs: GeneratedLogprobs[] = [];
  const promptLogprobs: GeneratedLogprobs[] = [];
  let text = "";
  let done: (GenerationEvent & { readonly type: "done" }) | undefined;
  for await (const event of events) {
    switch (event.type) {
      case "started":
        promptTokenIds = event.promptTokenIds;
        break;
      case "prompt":
        promptLogprobs.push(...event.logprobs);
        break;
      case "token":
        tokenIds.push(event.tokenId);
        if (event.logits !== null) logits.push(event.logits);
        if (event.logprobs !== null) logprobs.push(event.logprobs);
        text += event.text;
        onText(event.text);
        break;
      case "done":
        done = event;
        break;
      default:
        event satisfies never;
    }
  }
  const { finishReason, ttftMs, decodeTokensPerSec, stages, kv, stepRows } = must(done, "end of the generation");
  return {
    promptTokenIds,
    tokenIds,
    text,
    finishReason,
    ttftMs,
    decodeTokensPerSec,
    stages,
    logits,
    logprobs,
    promptLogprobs,
    kv,
    stepRows,
  };
}

/** `noodle.generate.v1`. */
export function writeGenerateDocument(generation: Generation, more: Readonly<Record<string, unknown>> = {}): Document {
  return {
    schema: "noodle.generate.v1",
    prompt_token_ids: generation.promptTokenIds,
    token_ids: generation.tokenIds,
    text: generation.text,
    finish_reason: generation.finishReason,
    ttft_ms: generation.ttftMs,
    decode_tokens_per_sec: generation.decodeTokensPerSec,
    stages: generation.stages.map((stage) => ({
      node: stage.name,
      units: `${stage.units.first}:${stage.units.end}`,
      compute_ms_p50: stage.computeMsP50,
      queue_ms_p50: stage.queueMsP50,
      hop_ms_p50: stage.hopMsP50,
      weights_bytes: stage.weightsBytes,
      rss_bytes: stage.rssBytes,
    })),
    ...(generation.promptLogprobs.length === 0
      ? {}
      : { prompt_logprobs: generation.promptLogprobs.map(writeLogprobs) }),
    ...(generation.logprobs.length === 0 ? {} : { logprobs: generation.logprobs.map(writeLogprobs) }),
    ...more,
  };
}

function writeLogprobs({ tokenId, logprob, top }: GeneratedLogprobs): object {
  return {
    token_id: tokenId,
    logprob,
    top: top.map((other) => ({ token_id: other.tokenId, logprob: other.logprob })),
  };
}

/**
 * Where a token's time goes, stage by stage. What the measured time between two tokens holds beyond the stages' own
 * (way back, sampling's history, coordinator) is a row of its own; shares are of that measured time.
 */
export function renderStageTable(generation: Generation): string {
  const { stages, decodeTokensPerSec } = generation;
  const stagesMs = sumStageMs(stages);
  const tokenMs = decodeTokensPerSec > 0 ? Math.max(stagesMs, 1000 / decodeTokensPerSec) : stagesMs;
  const share = (ms: number): string => (tokenMs === 0 ? "-" : `${((ms / tokenMs) * 100).toFixed(0)}%`);
  const rows = stages.map((stage) => [
    stage.name,
    `${stage.units.first}:${stage.units.end}`,
    (stage.weightsBytes / 1e6).toFixed(1),
    formatMs(stage.computeMsP50),
    formatMs(stage.queueMsP50),
    formatMs(stage.hopMsP50),
    share(stageMs(stage)),
  ]);
  return renderTable(
    [
      { title: "stage" },
      { title: "units" },
      { title: "MB", align: "right" },
      { title: "compute ms", align: "right" },
      { title: "queue ms", align: "right" },
      { title: "hop ms", align: "right" },
      { title: "share", align: "right" },
    ],
    [...rows, ["elsewhere", "", "", "", "", "", share(tokenMs - stagesMs)]],
  );
}

/** Compute, queue and hop of one token, all stages together. */
export function sumStageMs(stages: readonly StageStats[]): number {
  return stages.reduce((sum, stage) => sum + stageMs(stage), 0);
}

function stageMs(stage: StageStats): number {
  return stage.computeMsP50 + stage.queueMsP50 + (stage.hopMsP50 ?? 0);
}
