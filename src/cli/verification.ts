import { NoodleError } from "../common/index.ts";
import {
  type KvHashes,
  type ReferenceRun,
  runReference,
  type SamplingParams,
  Tokenizer,
  compareRuns,
  type Verification,
} from "../engine/index.ts";
import type { Generation } from "./generation.ts";

/** How the pipeline ran: the reference repeats it. */
export interface RunConditions {
  readonly modelPath: string;
  readonly sampling: SamplingParams;
  readonly maxTokens: number;
  readonly threads: number;
  readonly contextTokens: number;
  readonly parallel: number;
  readonly maxRows: number;
}

export interface VerifiedRun {
  readonly verification: Verification;
  readonly reference: ReferenceRun;
}

/** Runs the undivided model over the generation's own schedule and compares bit for bit. */
export async function verifyGeneration(
  generation: Generation,
  conditions: RunConditions,
  signal: AbortSignal,
): Promise<VerifiedRun> {
  using tokenizer = Tokenizer.open(conditions.modelPath);
  const reference = await runReference({
    ...conditions,
    promptTokenIds: generation.promptTokenIds,
    stepRows: generation.stepRows,
    isEndOfGeneration: (tokenId) => tokenizer.isEndOfGeneration(tokenId),
    signal,
  });
  const { tokenIds, logits } = generation;
  return { reference, verification: compareRuns({ tokenIds, logits, kv: hashesOf(generation) }, reference) };
}

/** Of the keys and values of each layer, as `compareRuns` takes them. */
export function hashesOf({ kv }: Generation): readonly KvHashes[] {
  return kv.map(({ block, kSha256, vSha256 }) => ({ block, k: toHex(kSha256), v: toHex(vSha256) }));
}

/** The `verify` part of `noodle.generate.v1`. */
export function writeVerification(verification: Verification): Readonly<Record<string, unknown>> {
  return {
    identical_tokens: verification.identicalTokens,
    identical_logits: verification.identicalLogits,
    identical_kv: verification.identicalKv,
    max_abs_logit_diff: verification.maxAbsLogitDiff,
    first_difference: verification.firstDifference,
  };
}

/** @throws NoodleError `VERIFY_FAILED` unless everything is identical */
export function requireIdentical(verification: Verification): void {
  if (verification.identicalTokens && verification.identicalLogits && verification.identicalKv) return;
  throw new NoodleError(
    "VERIFY_FAILED",
    `not identical to the undivided engine: ${verification.firstDifference ?? "unknown"}`,
    {
      details: writeVerification(verification),
    },
  );
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
