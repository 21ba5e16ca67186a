import { statSync } from "node:fs";
import { join } from "node:path";
import { NoodleError } from "../common/index.ts";
import { formatSplit, stageBytes } from "../model/index.ts";
import type { CommandContext } from "./command.ts";
import { isAsUndisturbed } from "./demo-kill.ts";
import type { DemoPlan } from "./demo-prepare.ts";
import type { DemoStory } from "./demo-story.ts";
import { summarizeDeath, writeDeath } from "./demo-words.ts";
import { BUNDLED_MODEL } from "./directories.ts";
import { writeGenerateDocument } from "./generation.ts";
import { renderFigures, writeFigures } from "./predicted-figures.ts";
import { writeReport } from "./report-file.ts";
import type { RunFolder } from "./run-folder.ts";
import { judgeSplit } from "./verdict.ts";
import { requireIdentical, type VerifiedRun, writeVerification } from "./verification.ts";

/**
 * Leaves the run's files, and says what came of it.
 *
 * @throws NoodleError `VERIFY_FAILED` behind them, where a bit is not as it should be
 */
export async function reportDemo(
  context: CommandContext,
  folder: RunFolder,
  plan: DemoPlan,
  { story, streams, forecast, figures, killed }: DemoStory,
  { verification, reference }: VerifiedRun,
  prompt: string,
): Promise<void> {
  const { out } = context;
  const { generation } = story;
  const document = writeGenerateDocument(generation, { verify: writeVerification(verification) });
  const stages = document["stages"] as readonly object[];
  const computeMs = generation.stages.reduce((sum, stage) => sum + stage.computeMsP50, 0);
  const words = judgeSplit({
    workers: plan.split.length,
    pipelineTokensPerSec: generation.decodeTokensPerSec,
    undividedTokensPerSec: reference.decodeTokensPerSec,
    computeMs,
    largestStageBytes: Math.max(...plan.split.map((units) => stageBytes(plan.model, units))),
    modelBytes: plan.model.units.reduce((sum, unit) => sum + unit.bytes, 0),
  });
  await folder.writeText("story.txt", `${prompt}${generation.text}\n`);
  await folder.writeJson("verify.json", { schema: "noodle.verify.v1", ...writeVerification(verification) });
  await folder.writeLines(
    "stages.jsonl",
    stages.map((stage) => ({ schema: "noodle.stage_stats.v1", ...stage })),
  );
  const { schema: _schema, ...generated } = document;
  const summary = {
    schema: "noodle.demo.v1",
    folder: folder.path,
    files: [...folder.files, "logs", "summary.json", "report.html", "report.json"],
    model: { path: BUNDLED_MODEL, bytes: statSync(BUNDLED_MODEL).size, source_sha256: plan.hashes.sourceSha256 },
    split: formatSplit(plan.split),
    threads: plan.threads,
    undivided_tokens_per_sec: reference.decodeTokensPerSec,
    verdict: words,
    predicted: {
      figures: writeFigures(figures),
      one_process_tokens_per_sec: forecast.alone.simulation.throughput.tokens_per_s,
      sharing_factor: forecast.sharingFactor,
    },
    streams: {
      streams: streams.streams,
      tokens: streams.tokens,
      tokens_per_sec: streams.tokensPerSec,
      alone_tokens_per_sec: streams.aloneTokensPerSec,
      identical: streams.identical,
    },
    recovery: writeDeath(killed, story),
    ...generated,
  };
  await folder.writeJson("summary.json", summary);
  const { report: page, pagePath } = await writeReport(context, [folder.path], join(folder.path, "report.html"));
  out.document(summary);
  requireIdentical(verification);
  if (!streams.identical) {
    throw new NoodleError(
      "VERIFY_FAILED",
      `of ${streams.streams} streams at once, not all gave the tokens of their run alone`,
    );
  }
  if (!isAsUndisturbed(killed)) {
    throw new NoodleError(
      "VERIFY_FAILED",
      `behind the death of ${killed.worker} the story is not what it would have been: ${killed.verification.firstDifference ?? "unknown"}`,
      { details: writeVerification(killed.verification) },
    );
  }
  const layers = generation.kv.length;
  out.line(
    `Identical to the undivided engine, bit for bit: ${generation.tokenIds.length} tokens, their logits, and the keys and values of ${layers} layers.\n`,
  );
  out.data(renderFigures(figures));
  out.line();
  for (const sentence of words) out.line(sentence);
  const gain = streams.tokensPerSec / streams.aloneTokensPerSec;
  out.line(
    `${streams.streams} streams at once: ${streams.tokensPerSec.toFixed(0)} tokens/s together, ${gain.toFixed(2)} times the ${streams.aloneTokensPerSec.toFixed(0)} of one at a time, each with the very tokens of its run alone.`,
  );
  out.line(summarizeDeath(killed));
  out.line();
  for (const sentence of page.statements) out.line(sentence);
  out.line(`\nThe run's files: ${folder.path}`);
  out.line(`  ${summary.files.join("  ")}`);
  out.line(`Look at it: ${pagePath}`);
  out.line("\nNext:");
  out.line("  npx noodle plan models/storyteller-q8_0.gguf --cluster examples/cluster.yaml --compare");
  out.line("  npx noodle whatif models/storyteller-q8_0.gguf --cluster examples/cluster.yaml --slow desk=2x");
  out.line("  npx noodle profile --like gpt2-124m --type f16      # of a model that is not here");
  out.line("  npx noodle up models/storyteller-q8_0.gguf --workers 3      # and in another terminal: npx noodle top");
}
