import type { LoadLevel } from "./load-watch.ts";
import type { LoopEvent } from "./types.ts";
import type { LinkWatch, LinkFinding } from "./link-watch.ts";
import type { NodeFinding } from "./node-watch.ts";
import type { MoveOutcome } from "./outcome-watch.ts";

export function sayFactor(factor: number): string {
  return factor >= 10 ? factor.toFixed(0) : factor.toFixed(2);
}

export function sayShare(share: number): string {
  return Number.isFinite(share) ? `${(100 * share).toFixed(1)}%` : "everything";
}

export function saySeconds(ms: number): string {
  const s = ms / 1000;
  return s >= 120 ? `${(s / 60).toFixed(1)} min` : `${s.toFixed(s < 10 ? 1 : 0)} s`;
}

export function describeNode(node: string, finding: NodeFinding, atMs: number): LoopEvent {
  const { type, phase, from, to } = finding;
  const figures = { phase, factor_before: round(from), factor: round(to) };
  const base = { atMs, node };
  if (type === "measured") {
    const isOff = Math.abs(Math.log(to)) > Math.log(1.1);
    return {
      ...base,
      kind: "measured",
      name: "loop.node_measured",
      severity: isOff ? "warning" : "info",
      figures,
      sentence: `${node} takes ${sayFactor(to)}x the time of its profile in ${phase} steps`,
    };
  }
  if (type === "crept") {
    return {
      ...base,
      kind: "drift",
      name: "loop.drift",
      severity: "warning",
      figures,
      sentence: `${node} has drifted from ${sayFactor(from)}x to ${sayFactor(to)}x the time of its profile in ${phase} steps`,
    };
  }
  return describeChange("node", base, figures, finding, ({ isSlower, steps, confidence }) => {
    const seen = `seen in ${steps} steps (confidence ${confidence})`;
    return `${node} computes ${isSlower ? "slower" : "faster"}: ${sayFactor(from)}x the time of its profile became ${sayFactor(to)}x in ${phase} steps, ${seen}`;
  });
}

export function describeLink(watch: LinkWatch, finding: LinkFinding, atMs: number): LoopEvent {
  const { from, to, frameMs, plannedMs } = finding;
  const { latencyMs, bytesPerMs } = watch.measure();
  const way = `the link from ${watch.from} to ${watch.to}`;
  const figures = {
    from: watch.from,
    to: watch.to,
    factor_before: round(from),
    factor: round(to),
    frame_ms: round(frameMs),
    planned_ms: round(plannedMs),
    latency_ms: round(latencyMs),
    bytes_per_ms: round(bytesPerMs),
  };
  const base = { atMs, node: watch.to };
  if (finding.type === "measured") {
    return {
      ...base,
      kind: "measured",
      name: "loop.link_measured",
      severity: "info",
      figures,
      sentence: `${way} takes ${frameMs.toFixed(2)} ms for a frame, planned with ${plannedMs.toFixed(2)} ms`,
    };
  }
  return describeChange("link", base, figures, finding, ({ isSlower, steps, confidence }) => {
    const seen = `seen in ${steps} frames (confidence ${confidence})`;
    return `${way} became ${isSlower ? "slower" : "faster"}: ${sayFactor(from)}x the planned time became ${sayFactor(to)}x (${frameMs.toFixed(2)} ms for a frame), ${seen}; the nodes compute as before`;
  });
}

/** What changes of nodes and of links have in common. */
function describeChange(
  what: "node" | "link",
  base: Pick<LoopEvent, "atMs" | "node">,
  figures: LoopEvent["figures"],
  { from, to, change }: Pick<NodeFinding | LinkFinding, "from" | "to" | "change">,
  say: (seen: { readonly isSlower: boolean; readonly steps: number; readonly confidence: string }) => string,
): LoopEvent {
  const isSlower = to > from;
  const steps = change?.steps ?? 0;
  const confidence = change?.confidence ?? 1;
  return {
    ...base,
    kind: "change",
    name: isSlower ? `loop.${what}_slow` : `loop.${what}_fast`,
    severity: isSlower ? "warning" : "info",
    figures: { ...figures, since_ms: change?.sinceMs ?? base.atMs, steps, confidence: round(confidence) },
    sentence: say({ isSlower, steps, confidence: sayShare(confidence) }),
  };
}

export function describeLoad(from: LoadLevel, to: LoadLevel, atMs: number): LoopEvent {
  const isMore = to.rows > from.rows || to.queueShare > from.queueShare || to.waiting > from.waiting;
  return {
    kind: "change",
    name: isMore ? "loop.load_more" : "loop.load_less",
    severity: "info",
    atMs,
    node: null,
    figures: {
      rows_before: round(from.rows),
      rows: round(to.rows),
      queue_ratio_before: round(from.queueShare),
      queue_ratio: round(to.queueShare),
      waiting_before: from.waiting,
      waiting: to.waiting,
    },
    sentence: `the load is ${isMore ? "higher" : "lower"}, not a machine ${isMore ? "slower" : "faster"}: ${from.rows.toFixed(1)} rows a step became ${to.rows.toFixed(1)}, queues ${sayShare(from.queueShare)} of the computing time became ${sayShare(to.queueShare)}, ${to.waiting} requests wait, and nodes and links take what they took`,
  };
}

/** From here on a prediction did not come true. */
const OFF = 0.1;

/** @param gainNow what the new plan brings against the old one, by what is known now; null where nobody can say */
export function describeOutcome(outcome: MoveOutcome, gain: number, gainNow: number | null, atMs: number): LoopEvent {
  const { stage, node, predictedMs, measuredMs, steps } = outcome;
  const error = predictedMs / measuredMs - 1;
  const isTrue = Math.abs(error) <= OFF;
  const signed = `${error < 0 ? "" : "+"}${(100 * error).toFixed(1)}%`;
  const brings = gainNow === null ? "" : `; it brings ${sayShare(gainNow)} where ${sayShare(gain)} were predicted`;
  return {
    kind: "outcome",
    name: "loop.outcome",
    severity: isTrue ? "info" : "warning",
    atMs,
    node,
    figures: {
      stage,
      predicted_ms: round(predictedMs),
      measured_ms: round(measuredMs),
      error: round(error),
      steps,
      gain_predicted: round(gain),
      gain: gainNow === null ? null : round(gainNow),
      came_true: isTrue,
    },
    sentence: `what was predicted of the move ${isTrue ? "has come true" : "has not come true"}: the slowest stage, ${node}, takes ${measuredMs.toFixed(2)} ms for a decode step where ${predictedMs.toFixed(2)} ms were predicted (${signed}, ${steps} steps)${brings}`,
  };
}

/** Four digits that count. */
export function round(value: number): number {
  return Number.isFinite(value) ? Number(value.toPrecision(4)) : value;
}
