import type { LogRow, LogRows } from "./schemas.ts";

const MAX_UNITS = 256;

/** A row in words, on one line, without its time; made of printable characters whatever the row holds. */
export function describeRow(row: LogRow): string {
  return clean(describe(row));
}

function describe(row: LogRow): string {
  switch (row.schema) {
    case "noodle.request.v1":
      return describeRequest(row);
    case "noodle.step.v1":
      return describeStep(row);
    case "noodle.layer.v1":
      return describeLayer(row);
    case "noodle.link.v1": {
      const offset =
        row.clock_offset_ns === null
          ? ""
          : `, clocks ${formatNs(row.clock_offset_ns)} apart (+-${formatNs(row.clock_uncertainty_ns)})`;
      return `${row.from} to ${row.to}: ${formatNs(row.rtt_ns)} there and back with ${row.payload_bytes} bytes${offset}`;
    }
    case "noodle.node.v1":
      return `${row.name} (${row.node_id}) ${row.state}, units ${row.units ?? "none"}, ${row.sessions} sessions, ${mib(row.rss_bytes)} resident (weights ${mib(row.weights_bytes)}, KV ${mib(row.kv_bytes)}, compute ${mib(row.compute_bytes)})`;
    case "noodle.plan.v1": {
      const stages = row.stages.map((stage) => `${stage.units} on ${stage.node_id ?? "nobody"}`).join(", ");
      return `plan ${row.epoch}: ${stages} (${row.reason})`;
    }
    case "noodle.event.v1":
      return `${row.severity} ${row.name}${row.node_id === null ? "" : ` ${row.node_id}`}: ${row.message}`;
    default:
      return row satisfies never;
  }
}

function describeRequest(row: LogRows["request"]): string {
  if (row.event_type === "start") {
    const prompt = row.prompt === null ? "" : `: ${JSON.stringify(row.prompt)}`;
    return `${row.request_id} start, ${row.prompt_tokens} prompt tokens, at most ${row.max_tokens} more${prompt}`;
  }
  const end = row.error_code === null ? `end (${row.finish_reason ?? "no reason"})` : `failed with ${row.error_code}`;
  const first =
    row.time_to_first_token_ns === null ? "no token" : `first token after ${formatNs(row.time_to_first_token_ns)}`;
  const gaps = row.inter_token_ns;
  const between = gaps.length === 0 ? "" : `, between tokens ${formatNs(takeMedian(gaps))} (median)`;
  return `${row.request_id} ${end}, ${row.generated_tokens} tokens in ${formatNs(row.duration_ns)}, ${first}${between}`;
}

function describeStep(row: LogRows["step"]): string {
  const stages = row.stages.map((stage) => {
    const hop = stage.hop_ns === null ? "" : `hop ${formatNs(stage.hop_ns)}, `;
    return `[${stage.stage} ${stage.node_id}: ${hop}queue ${formatNs(stage.queue_ns)}, compute ${formatNs(stage.compute_ns)}, serialize ${formatNs(stage.serialize_ns)}]`;
  });
  const took = formatNs(row.duration_ns);
  return `step ${row.epoch}/${row.step_id} ${row.phase}, ${row.rows} ${row.rows === 1 ? "row" : "rows"}, context ${row.context_tokens}: ${took} ${stages.join(" ")}`;
}

function describeLayer(row: LogRows["layer"]): string {
  const byUnit = new Map<number, number>();
  const byRole = new Map<string, number>();
  for (const segment of row.segments) {
    byUnit.set(segment.unit, (byUnit.get(segment.unit) ?? 0) + segment.duration_ns);
    byRole.set(segment.role, (byRole.get(segment.role) ?? 0) + segment.duration_ns);
  }
  const part = row.parts === 1 ? "" : ` (part ${row.part + 1} of ${row.parts})`;
  const roles =
    row.level === "layer" ? "" : `; ${[...byRole].map(([role, ns]) => `${role} ${formatNs(ns)}`).join(", ")}`;
  const units = [...byUnit].slice(0, MAX_UNITS).map(([unit, ns]) => `${unit} ${formatNs(ns)}`);
  const more = byUnit.size > MAX_UNITS ? ` and ${byUnit.size - MAX_UNITS} more` : "";
  const inside = units.length === 0 ? "no times (the graph was new and was read)" : `units ${units.join(", ")}${more}`;
  return `step ${row.epoch}/${row.step_id} inside ${row.stage} ${row.node_id}${part}, level ${row.level}: ${formatNs(row.step_ns)}, of it ${formatNs(row.hook_ns)} outside of what follows; ${inside}${roles}`;
}

/** Nanoseconds as milliseconds; above ten seconds as seconds. */
function formatNs(ns: number | null): string {
  if (ns === null) return "unknown";
  if (Math.abs(ns) >= 1e10) return `${(ns / 1e9).toFixed(2)} s`;
  return `${(ns / 1e6).toFixed(Math.abs(ns) < 1e7 ? 3 : 1)} ms`;
}

function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

function takeMedian(values: readonly number[]): number {
  return [...values].sort((left, right) => left - right)[Math.floor(values.length / 2)] ?? 0;
}

/** Bytes of a log must not steer the terminal that they are shown on. */
function clean(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, (character) => {
    return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
  });
}
