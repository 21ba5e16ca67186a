import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { must } from "../common/index.ts";
import { makePlan, makeRequestEnd, makeRequestStart, makeStep } from "../metrics/testing.ts";
import { OtlpTelemetry, type OtlpTelemetryOptions } from "./otlp-telemetry.ts";
import { readOtlpUrl } from "./otlp-url.ts";

interface OtlpValue {
  readonly stringValue?: string;
  readonly intValue?: number | string;
  readonly doubleValue?: number;
  readonly arrayValue?: { readonly values: readonly OtlpValue[] };
}

interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: OtlpValue }[];
  readonly status: { readonly code?: number };
}

interface OtlpBody {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: OtlpSpan["attributes"] };
    readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[];
  }[];
}

interface Collector {
  readonly url: string;
  readonly posts: { readonly path: string; readonly type: string; readonly body: string }[];
  readonly server: Server;
}

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function startCollector(answer: (response: ServerResponse) => void): Promise<Collector> {
  const posts: Collector["posts"] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const type = request.headers["content-type"] ?? "";
      posts.push({ path: request.url ?? "", type, body: Buffer.concat(chunks).toString() });
      answer(response);
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  closers.push(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, posts, server };
}

const accept = (response: ServerResponse): void => void response.writeHead(200).end("{}");

async function start(url: string, options: Partial<OtlpTelemetryOptions> = {}): Promise<OtlpTelemetry> {
  const telemetry = await OtlpTelemetry.start({
    url: readOtlpUrl(url, "--otlp"),
    model: "tiny.gguf",
    noodlecoreVersion: "1.2.3",
    ...options,
  });
  closers.push(() => telemetry.close(0));
  return telemetry;
}

/** A request with one decode step of two stages: 7 spans. */
function serveRequest(telemetry: OtlpTelemetry, requestId: string): void {
  const monoNs = Number(process.hrtime.bigint());
  telemetry.onRequest({ ...makeRequestStart(requestId, monoNs), prompt: "a secret" });
  telemetry.onStep(makeStep({ requestIds: [requestId], sentMonoNs: monoNs + 2e6 }));
  telemetry.onRequest(
    makeRequestEnd({
      requestId,
      startMonoNs: monoNs,
      firstStepMonoNs: monoNs + 1e6,
      firstTokenMonoNs: monoNs + 2e6,
      monoNs: monoNs + 3e6,
    }),
  );
}

function readSpans(collector: Collector): readonly OtlpSpan[] {
  return collector.posts.flatMap(({ body }) =>
    (JSON.parse(body) as OtlpBody).resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
  );
}

function attribute(span: OtlpSpan, key: string): unknown {
  const value = span.attributes.find((each) => each.key === key)?.value;
  return (
    value?.stringValue ??
    value?.doubleValue ??
    value?.arrayValue?.values.map((each) => each.stringValue) ??
    value?.intValue
  );
}

describe("a collector", () => {
  test("gets the spans of a request with their parents, attributes and times", async () => {
    const collector = await startCollector(accept);
    const telemetry = await start(collector.url);
    const requestId = "0123456789abcdef0123456789abcdef";
    const beforeMs = Date.now();
    telemetry.onPlan(makePlan());
    serveRequest(telemetry, requestId);
    await telemetry.close(5000);
    expect(collector.posts.map(({ path, type }) => [path, type])).toEqual([["/v1/traces", "application/json"]]);
    const spans = readSpans(collector);
    const byName = (name: string): OtlpSpan =>
      must(
        spans.find((span) => span.name === name),
        name,
      );
    const parentOf = (span: OtlpSpan): string | undefined =>
      spans.find((other) => other.spanId === span.parentSpanId)?.name;
    expect(spans.map((span) => [span.name, parentOf(span)]).sort((a, b) => String(a).localeCompare(String(b)))).toEqual(
      [
        ["noodle.decode", "text_completion tiny.gguf"],
        ["noodle.prefill", "text_completion tiny.gguf"],
        ["noodle.queue", "text_completion tiny.gguf"],
        ["noodle.stage", "noodle.step"],
        ["noodle.stage", "noodle.step"],
        ["noodle.step", "noodle.decode"],
        ["text_completion tiny.gguf", undefined],
      ],
    );
    expect(new Set(spans.map((span) => span.traceId))).toEqual(new Set([requestId]));
    const root = byName("text_completion tiny.gguf");
    expect(root.kind).toBe(1);
    expect(attribute(root, "gen_ai.operation.name")).toBe("text_completion");
    expect(attribute(root, "gen_ai.provider.name")).toBe("noodlecore");
    expect(attribute(root, "gen_ai.response.finish_reasons")).toEqual(["length"]);
    expect(Number(attribute(root, "gen_ai.usage.output_tokens"))).toBe(3);
    expect(BigInt(root.endTimeUnixNano) - BigInt(root.startTimeUnixNano)).toBe(3_000_000n);
    expect(Math.abs(Number(BigInt(root.startTimeUnixNano) / 1_000_000n) - beforeMs)).toBeLessThan(60_000);
    const stage = must(
      spans.find((span) => span.name === "noodle.stage" && Number(attribute(span, "noodle.stage")) === 1),
      "stage 1",
    );
    expect(attribute(stage, "noodle.units")).toBe("3:6");
    expect(Number(attribute(stage, "noodle.compute_ms"))).toBe(6);
    const resource = must((JSON.parse(must(collector.posts[0], "post").body) as OtlpBody).resourceSpans[0], "resource");
    expect(resource.resource.attributes).toContainEqual({ key: "service.name", value: { stringValue: "noodlecore" } });
    expect(telemetry.exported).toBe(7);
    expect(telemetry.dropped).toBe(0);
  });

  test("gets no text of a prompt", async () => {
    const collector = await startCollector(accept);
    const telemetry = await start(collector.url);
    serveRequest(telemetry, "r1");
    await telemetry.close(5000);
    expect(collector.posts).toHaveLength(1);
    expect(collector.posts[0]?.body).not.toContain("secret");
  });

  test("gets failed requests as errors, each request in a trace of its own", async () => {
    const collector = await startCollector(accept);
    const telemetry = await start(collector.url);
    telemetry.onRequest(makeRequestStart("a"));
    telemetry.onRequest(makeRequestStart("b"));
    telemetry.onRequest(makeRequestEnd({ requestId: "a", finishReason: null, errorCode: "PEER_DEAD" }));
    telemetry.onRequest(makeRequestEnd({ requestId: "b" }));
    await telemetry.close(5000);
    const roots = readSpans(collector).filter((span) => span.parentSpanId === undefined);
    expect(roots.map((span) => [attribute(span, "error.type"), span.status.code ?? 0])).toEqual([
      ["PEER_DEAD", 2],
      [undefined, 0],
    ]);
    expect(new Set(roots.map((span) => span.traceId)).size).toBe(2);
  });

  test("gets every Nth step of a request and phase, and never more than a few dozen", async () => {
    const collector = await startCollector(accept);
    const telemetry = await start(collector.url, { stepEvery: 10 });
    telemetry.onRequest(makeRequestStart("a"));
    for (let step = 0; step < 4; step++)
      telemetry.onStep(makeStep({ requestIds: ["a"], phase: "prefill", stepId: step }));
    for (let step = 4; step < 1000; step++) telemetry.onStep(makeStep({ requestIds: ["a"], stepId: step }));
    telemetry.onStep(makeStep({ requestIds: ["a"], phase: "prefill", stages: [] }));
    telemetry.onRequest(makeRequestEnd({ requestId: "a" }));
    await telemetry.close(5000);
    const ids = readSpans(collector)
      .filter((span) => span.name === "noodle.step")
      .map((span) => Number(attribute(span, "noodle.step_id")))
      .sort((a, b) => a - b);
    expect(ids).toHaveLength(32);
    expect(ids.slice(0, 4)).toEqual([0, 4, 14, 24]);
  });
});

describe("a collector that does not do its part", () => {
  test("by being absent costs its spans, which are counted, and nothing else", async () => {
    const telemetry = await start("http://127.0.0.1:9", { intervalMs: 1 });
    serveRequest(telemetry, "r1");
    await telemetry.close(300);
    expect(telemetry.exported).toBe(0);
    expect(telemetry.dropped).toBe(7);
  });

  test("by refusing costs its spans, and the next ones are tried again", async () => {
    const collector = await startCollector((response) => void response.writeHead(400).end());
    const telemetry = await start(collector.url, { queueLimit: 7 });
    serveRequest(telemetry, "r1");
    await expect.poll(() => telemetry.dropped).toBe(7);
    serveRequest(telemetry, "r2");
    await expect.poll(() => telemetry.dropped).toBe(14);
    expect(collector.posts).toHaveLength(2);
  });

  test("by failing with 500 costs its spans", async () => {
    const collector = await startCollector((response) => void response.writeHead(500).end());
    const telemetry = await start(collector.url);
    serveRequest(telemetry, "r1");
    await telemetry.close(300);
    expect(collector.posts.length).toBeGreaterThan(0);
    expect(telemetry.exported).toBe(0);
    expect(telemetry.dropped).toBe(7);
  });

  test("by never answering fills the queue to its limit, and the end does not wait for it", async () => {
    const collector = await startCollector(() => undefined);
    const telemetry = await start(collector.url, { queueLimit: 20, timeoutMs: 60_000 });
    for (let request = 0; request < 30; request++) serveRequest(telemetry, `r${request}`);
    // One batch is under way, one waits, the rest is lost already.
    expect(telemetry.dropped).toBe(30 * 7 - 2 * 20);
    await telemetry.close(50);
    expect(telemetry.dropped).toBe(30 * 7);
    expect(telemetry.exported).toBe(0);
    serveRequest(telemetry, "late");
    expect(telemetry.dropped).toBe(31 * 7);
    await telemetry.close(50);
  });
});

test("a request whose start was not seen is counted, not guessed", async () => {
  const telemetry = await start("http://127.0.0.1:9");
  telemetry.onStep(makeStep({ requestIds: ["unknown"] }));
  telemetry.onRequest(makeRequestEnd({ requestId: "unknown" }));
  expect(telemetry.dropped).toBe(1);
});
