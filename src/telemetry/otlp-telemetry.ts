import type * as OtelApi from "@opentelemetry/api";
import type { BasicTracerProvider, SpanExporter } from "@opentelemetry/sdk-trace-base";
import type { ClusterObserver, PlanRecord, RequestRecord, StepRecord } from "../observe/index.ts";
import { planRequestSpans, type RequestFacts, type SampledStep, type SpanPlan } from "./request-spans.ts";
import { SpanQueue } from "./span-queue.ts";
import { toHrTime, type WallClock } from "./wall-clock.ts";

export interface OtlpTelemetryOptions {
  /** Where spans are posted, path included (`readOtlpUrl`). */
  readonly url: string;
  readonly model: string;
  readonly noodlecoreVersion: string;
  /** @default "text_completion" */
  readonly operation?: RequestFacts["operation"];
  /** Every Nth step of a request and phase becomes a span, its first always. @default 50 */
  readonly stepEvery?: number;
  /** Spans that may wait for the collector. @default 2048 */
  readonly queueLimit?: number;
  /** Longest time until a span is sent. @default 1000 */
  readonly intervalMs?: number;
  /** Longest time for one request to the collector, its repetitions included. @default 5000 */
  readonly timeoutMs?: number;
  /** Headers of each request, such as an API key. */
  readonly headers?: Readonly<Record<string, string>>;
}

interface OpenRequest {
  readonly clock: WallClock;
  readonly steps: SampledStep[];
  readonly stepCounts: Record<StepRecord["phase"], number>;
}

const BATCH_SPANS = 512;
/** A step of eight stages makes nine spans; a long answer must not make thousands at once. */
const MAX_SAMPLED_STEPS = 32;
const MAX_OPEN_REQUESTS = 1024;
const TRACE_ID = /^(?!0{32})[0-9a-f]{32}$/;

/**
 * Sends a span for each request to an OpenTelemetry collector, with the time in the queue, prefill, decode and sampled
 * steps below. The SDK is loaded at `start` and not before. No text of prompts or answers is ever part of a span.
 */
export class OtlpTelemetry implements ClusterObserver {
  readonly #api: typeof OtelApi;
  readonly #tracer: OtelApi.Tracer;
  readonly #queue: SpanQueue;
  readonly #facts: RequestFacts;
  readonly #stepEvery: number;
  readonly #nextTraceId: { value: string | null };
  readonly #open = new Map<string, OpenRequest>();
  #plan: PlanRecord | null = null;

  static async start(options: OtlpTelemetryOptions): Promise<OtlpTelemetry> {
    const [api, sdk, resources, { OTLPTraceExporter }] = await Promise.all([
      import("@opentelemetry/api"),
      import("@opentelemetry/sdk-trace-base"),
      import("@opentelemetry/resources"),
      import("@opentelemetry/exporter-trace-otlp-http"),
    ]);
    const exporter: SpanExporter = new OTLPTraceExporter({
      url: options.url,
      timeoutMillis: options.timeoutMs ?? 5000,
      concurrencyLimit: 1,
      ...(options.headers === undefined ? {} : { headers: { ...options.headers } }),
    });
    const queue = new SpanQueue(exporter, {
      limit: options.queueLimit ?? 2048,
      batch: Math.min(BATCH_SPANS, options.queueLimit ?? BATCH_SPANS),
      intervalMs: options.intervalMs ?? 1000,
    });
    // A request's id is of a trace id's form: who has the one finds the other.
    const nextTraceId: { value: string | null } = { value: null };
    const random = new sdk.RandomIdGenerator();
    const provider = new sdk.BasicTracerProvider({
      resource: resources.resourceFromAttributes({
        "service.name": "noodlecore",
        "service.version": options.noodlecoreVersion,
      }),
      spanProcessors: [queue],
      idGenerator: {
        generateTraceId: () => nextTraceId.value ?? random.generateTraceId(),
        generateSpanId: () => random.generateSpanId(),
      },
    });
    return new OtlpTelemetry(api, provider, queue, nextTraceId, options);
  }

  private constructor(
    api: typeof OtelApi,
    provider: BasicTracerProvider,
    queue: SpanQueue,
    nextTraceId: { value: string | null },
    options: OtlpTelemetryOptions,
  ) {
    this.#api = api;
    this.#tracer = provider.getTracer("noodlecore", options.noodlecoreVersion);
    this.#queue = queue;
    this.#nextTraceId = nextTraceId;
    this.#facts = { operation: options.operation ?? "text_completion", model: options.model };
    this.#stepEvery = options.stepEvery ?? 50;
  }

  /** Spans that did not reach the collector. */
  get dropped(): number {
    return this.#queue.dropped;
  }

  /** Spans that the collector took. */
  get exported(): number {
    return this.#queue.exported;
  }

  onPlan(record: PlanRecord): void {
    this.#plan = record;
  }

  onRequest(record: RequestRecord): void {
    if (record.type === "start") {
      if (this.#open.size >= MAX_OPEN_REQUESTS) return;
      const clock = { unixMs: Date.now(), monoNs: Number(process.hrtime.bigint()) };
      this.#open.set(record.requestId, { clock, steps: [], stepCounts: { prefill: 0, decode: 0 } });
      return;
    }
    const request = this.#open.get(record.requestId);
    this.#open.delete(record.requestId);
    if (request === undefined) {
      this.#queue.drop(1);
      return;
    }
    this.#nextTraceId.value = TRACE_ID.test(record.requestId) ? record.requestId : null;
    this.#write(planRequestSpans(this.#facts, record, request.steps), request.clock, this.#api.ROOT_CONTEXT);
    this.#nextTraceId.value = null;
  }

  onStep(record: StepRecord): void {
    if (record.stages.length === 0) return;
    for (const id of record.requestIds) {
      const request = this.#open.get(id);
      if (request === undefined || request.steps.length >= MAX_SAMPLED_STEPS) continue;
      const ordinal = request.stepCounts[record.phase]++;
      if (ordinal % this.#stepEvery === 0) request.steps.push({ record, plan: this.#plan });
    }
  }

  /** Gives the collector until the deadline to take what waits. Closing twice is safe. */
  close(timeoutMs = 2000): Promise<void> {
    return this.#queue.close(timeoutMs);
  }

  #write(plan: SpanPlan, clock: WallClock, parent: OtelApi.Context): void {
    const { SpanKind, SpanStatusCode, trace } = this.#api;
    const startTime = toHrTime(clock, plan.startMonoNs);
    const options = { kind: SpanKind.INTERNAL, startTime, attributes: { ...plan.attributes } };
    const span = this.#tracer.startSpan(plan.name, options, parent);
    if (plan.errorCode !== null) span.setStatus({ code: SpanStatusCode.ERROR, message: plan.errorCode });
    const context = trace.setSpan(parent, span);
    for (const child of plan.children) this.#write(child, clock, context);
    span.end(toHrTime(clock, Math.max(plan.startMonoNs, plan.endMonoNs)));
  }
}
