/** Helpers of this folder's tests: random traces, and a reader of Chrome traces that is strict. */
import * as fc from "fast-check";
import type { ChromeEvent, ChromeTrace } from "./chrome.ts";
import type { RequestTrace, TraceStep } from "./schema.ts";

const NS = fc.nat(3_000_000);
const START_NS = 5_000_000_000;

const segmentArbitrary = fc.record({
  unit: fc.nat(5),
  role: fc.constantFrom("total", "attention", "mlp", "other"),
  start_ns: NS,
  duration_ns: NS,
  nodes: fc.nat(40),
});

function stepArbitrary(stages: number): fc.Arbitrary<TraceStep> {
  const times = fc.record({
    queue_ns: NS,
    compute_ns: NS,
    serialize_ns: NS,
    hop_ns: fc.option(NS, { nil: null }),
    bytes_in: fc.nat(100_000),
  });
  const seen = fc.record({
    level: fc.constantFrom("layer", "role", "node"),
    arrival: fc.nat(20_000_000),
    wait: NS,
    compute: NS,
    send: NS,
    segments: fc.array(segmentArbitrary, { maxLength: 6 }),
  });
  return fc
    .record({
      step_id: fc.nat(1000),
      epoch: fc.constant(1),
      phase: fc.constantFrom("prefill", "decode"),
      rows: fc.integer({ min: 1, max: 8 }),
      sent: fc.nat(10_000_000),
      took: fc.nat(20_000_000),
      sampled: fc.boolean(),
      level: fc.constantFrom("step", "layer", "role"),
      stages: fc.array(times, { minLength: stages, maxLength: stages }),
      seen: fc.array(fc.option(seen, { nil: null, freq: 6 }), { minLength: stages, maxLength: stages }),
    })
    .map(({ sent, took, seen: inside, stages: spent, ...rest }) => ({
      ...rest,
      context_tokens: rest.rows,
      sent_mono_ns: START_NS + sent,
      received_mono_ns: START_NS + sent + took,
      stages: spent.map((entry, stage) => ({ stage, node_id: `n${stage}`, ...entry })),
      layers: inside.flatMap((entry, stage) => {
        if (entry === null) return [];
        const { arrival, wait, compute, send, level, segments } = entry;
        const arrivalNs = START_NS + 1_000_000_000 * (stage + 1) + arrival;
        return [
          {
            stage,
            node_id: `n${stage}`,
            level,
            rows: 1,
            step_ns: compute,
            hook_ns: 0,
            arrival_node_ns: arrivalNs,
            compute_start_node_ns: arrivalNs + wait,
            compute_end_node_ns: arrivalNs + wait + compute,
            sent_node_ns: arrivalNs + wait + compute + send,
            segments,
          },
        ];
      }),
    }));
}

/** Traces with steps that overlap, clocks that are far off, and times that contradict each other. */
export const traceArbitrary: fc.Arbitrary<RequestTrace> = fc.integer({ min: 1, max: 4 }).chain((stages) =>
  fc
    .record({
      steps: fc.uniqueArray(stepArbitrary(stages), { maxLength: 8, selector: (step) => step.step_id }),
      offsets: fc.array(fc.option(fc.nat(2_000_000), { nil: null, freq: 8 }), { minLength: stages, maxLength: stages }),
      first: fc.option(fc.nat(40_000_000), { nil: null }),
      end: fc.option(fc.nat(40_000_000), { nil: null }),
    })
    .map(({ steps, offsets, first, end }) => ({
      schema: "noodle.trace.v1" as const,
      request_id: "ab".repeat(16),
      prompt_tokens: 3,
      generated_tokens: steps.length,
      max_tokens: 9,
      start_mono_ns: START_NS,
      first_step_mono_ns: null,
      first_token_mono_ns: first === null ? null : START_NS + first,
      end_mono_ns: end === null ? null : START_NS + end,
      finish_reason: end === null ? null : "length",
      error_code: null,
      stages: offsets.map((offset, stage) => ({
        stage,
        node_id: `n${stage}`,
        name: `host-${stage}`,
        units: `${stage}:${stage + 1}`,
        weights_bytes: 10,
        kv_bytes: 20,
        compute_bytes: 30,
        rtt_ns: 100_000,
        clock_offset_ns: offset === null ? null : 1_000_000_000 * (stage + 1) - offset,
        clock_uncertainty_ns: offset === null ? null : 50_000,
      })),
      steps,
      steps_forgotten: 0,
      layers_forgotten: 0,
    })),
);

function byRow(events: readonly ChromeEvent[]): ReadonlyMap<string, readonly ChromeEvent[]> {
  const rows = new Map<string, ChromeEvent[]>();
  for (const event of events) {
    if (event.ph !== "X") continue;
    const key = `${event.pid}/${event.tid}`;
    rows.set(key, [...(rows.get(key) ?? []), event]);
  }
  return rows;
}

const ns = (us: number | undefined): number => Math.round((us ?? Number.NaN) * 1000);

/** Everything that is wrong with a Chrome trace, in words; nothing for a sound one. */
export function findFlaws(trace: ChromeTrace): readonly string[] {
  const flaws: string[] = [];
  const { traceEvents: events } = trace;
  const named = new Set(events.filter((event) => event.name === "thread_name").map((e) => `${e.pid}/${e.tid}`));
  const processes = new Set(events.filter((event) => event.name === "process_name").map((event) => event.pid));
  let lastTs = 0;
  for (const event of events) {
    const text = JSON.stringify(event);
    if (!Number.isFinite(event.ts) || event.ts < 0) flaws.push(`time of ${text}`);
    if (!processes.has(event.pid)) flaws.push(`no process for ${text}`);
    if (event.ph === "M") continue;
    if (event.ts < lastTs) flaws.push(`out of order: ${text}`);
    lastTs = event.ts;
    if (event.ph === "X" && !(Number.isFinite(event.dur) && Number(event.dur) >= 0)) flaws.push(`duration of ${text}`);
    if (event.ph === "X" && !named.has(`${event.pid}/${event.tid}`)) flaws.push(`no row for ${text}`);
  }
  for (const [row, slices] of byRow(events)) {
    const open: number[] = [];
    // Of two that begin together the longer one is the outer one.
    for (const slice of slices.toSorted((a, b) => ns(a.ts) - ns(b.ts) || ns(b.dur) - ns(a.dur))) {
      const start = ns(slice.ts);
      const end = start + ns(slice.dur);
      while (open.length > 0 && (open.at(-1) ?? 0) <= start) open.pop();
      const outer = open.at(-1);
      if (outer !== undefined && end > outer) flaws.push(`overlap in row ${row} at ${slice.ts}: ${slice.name}`);
      open.push(end);
    }
  }
  const balance = (begin: ChromeEvent["ph"], end: ChromeEvent["ph"]): void => {
    const open = new Map<string, ChromeEvent>();
    for (const event of events) {
      const key = `${event.cat}/${event.id}/${begin === "b" ? event.name : ""}`;
      if (event.ph === begin) {
        if (open.has(key)) flaws.push(`${begin} twice: ${key}`);
        open.set(key, event);
      } else if (event.ph === end) {
        const first = open.get(key);
        if (first === undefined || first.ts > event.ts) flaws.push(`${end} without ${begin}: ${key}`);
        open.delete(key);
      }
    }
    for (const key of open.keys()) flaws.push(`${begin} without ${end}: ${key}`);
  };
  balance("b", "e");
  balance("s", "f");
  const rows = byRow(events);
  for (const event of events.filter((entry) => entry.ph === "s" || entry.ph === "f")) {
    const at = ns(event.ts);
    const bound = (rows.get(`${event.pid}/${event.tid}`) ?? []).some(
      (slice) => ns(slice.ts) <= at && at <= ns(slice.ts) + ns(slice.dur),
    );
    if (!bound) flaws.push(`arrow ${event.id} touches no slice`);
  }
  return flaws;
}
