import type { KilledStory, TimedGeneration } from "./demo-kill.ts";
import { countNoun } from "./quantities.ts";
import { nextTokenMs } from "./recovery.ts";
import { renderTable } from "./table.ts";
import { writeVerification } from "./verification.ts";

/** What the death of a worker did to the story, line by line. */
export function describeDeath(killed: KilledStory): readonly string[] {
  const { worker, units, killedBehind, after, recovery, backMs } = killed;
  const begin = `${worker} (units ${units}) was killed behind token ${killedBehind}`;
  const pauseMs = pauseOf(killed);
  if (pauseMs === null || recovery === null)
    return [`${begin}: all tokens were under way already.`, ...compare(killed)];
  const table = renderTable(
    [{ title: "what it took" }, { title: "ms", align: "right" }],
    [
      [`to find out: ${recovery.cause}`, sayMs(recovery.detectMs)],
      [`another plan, its stages ready: ${after.join(", ")}`, sayMs(recovery.replanMs)],
      [`${countNoun(recovery.tokensRefilled, "token")} computed again`, sayMs(recovery.refillMs)],
      // As a rule the last of them is computed together with it.
      ...(nextTokenMs(recovery) === 0 ? [] : [["the next token", sayMs(nextTokenMs(recovery))]]),
      ["together, between the kill and the next token", sayMs(pauseMs)],
    ],
  );
  const back =
    backMs === null
      ? `${worker} has not its units back yet.`
      : `${worker} was started again, and had its units back ${(backMs / 1000).toFixed(1)} s after the kill.`;
  return [
    `${begin}, and the stream went on ${(pauseMs / 1000).toFixed(2)} s later.`,
    ...table.trimEnd().split("\n"),
    ...compare(killed),
    back,
  ];
}

/** One sentence of it. */
export function summarizeDeath(killed: KilledStory): string {
  const pauseMs = pauseOf(killed);
  const pause =
    pauseMs === null
      ? "the stream had ended before that was noticed"
      : `the stream went on ${(pauseMs / 1000).toFixed(2)} s later`;
  return `${killed.worker} was killed in the middle of a sentence: ${pause}. ${compare(killed).join(" ")}`;
}

/** The `recovery` part of `noodle.demo.v1`. */
export function writeDeath(killed: KilledStory, undisturbed: TimedGeneration): Readonly<Record<string, unknown>> {
  const { recovery, story } = killed;
  return {
    worker: killed.worker,
    units: killed.units,
    signal: "SIGKILL",
    stages_before: killed.before,
    stages_after: killed.after,
    killed_behind_token: killed.killedBehind,
    cause: recovery?.cause ?? null,
    detect_ms: recovery?.detectMs ?? null,
    replan_ms: recovery?.replanMs ?? null,
    refill_ms: recovery?.refillMs ?? null,
    next_token_ms: recovery === null ? null : nextTokenMs(recovery),
    tokens_refilled: recovery?.tokensRefilled ?? null,
    exact: recovery?.exact ?? null,
    pause_ms: pauseOf(killed),
    back_ms: killed.backMs,
    tokens: story.tokensMs.length,
    equal_tokens: killed.equalTokens,
    ...writeVerification(killed.verification),
    killed_ms: killed.killedMs,
    resumed_ms: killed.resumedMs,
    tokens_ms: story.tokensMs,
    undisturbed_tokens_ms: undisturbed.tokensMs,
  };
}

/** From the kill to the next token; null where none came behind it. */
function pauseOf({ killedMs, resumedMs }: KilledStory): number | null {
  return resumedMs === null ? null : resumedMs - killedMs;
}

function compare({ equalTokens, story, verification }: KilledStory): readonly string[] {
  const { identicalTokens, identicalLogits, identicalKv, firstDifference } = verification;
  const tokens = `${equalTokens} of ${countNoun(story.tokensMs.length, "token")} equal to the run without the fault`;
  if (!identicalTokens) return [`${tokens}: ${firstDifference ?? "unknown"}.`];
  const layers = story.generation.kv.length;
  const alike = [
    ...(identicalLogits ? ["their logits"] : []),
    ...(identicalKv ? [`the keys and values of ${layers} layers`] : []),
  ];
  return [alike.length === 0 ? `${tokens}.` : `${tokens}, and so are ${alike.join(" and ")}.`];
}

function sayMs(ms: number | null): string {
  return ms === null ? "-" : ms.toFixed(0);
}
