import { describe, expect, test } from "vitest";
import { makePlan, makeRequestEnd, makeStageStep, makeStep } from "../metrics/testing.ts";
import { planRequestSpans, type SpanPlan } from "./request-spans.ts";

const FACTS = { operation: "text_completion", model: "tiny.gguf" } as const;
const MS = 1e6;

function child(plan: SpanPlan | undefined, name: string): SpanPlan | undefined {
  return plan?.children.find((each) => each.name === name);
}

describe("the spans of a request", () => {
  test("are queue, prefill and decode, one behind the other", () => {
    const root = planRequestSpans(FACTS, makeRequestEnd(), []);
    expect([root.name, root.startMonoNs, root.endMonoNs]).toEqual(["text_completion tiny.gguf", 0, 2000 * MS]);
    expect(root.children.map(({ name, startMonoNs, endMonoNs }) => [name, startMonoNs / MS, endMonoNs / MS])).toEqual([
      ["noodle.queue", 0, 500],
      ["noodle.prefill", 500, 1500],
      ["noodle.decode", 1500, 2000],
    ]);
  });

  test("carry the conventional attributes and no text", () => {
    const { attributes, errorCode } = planRequestSpans(FACTS, makeRequestEnd(), []);
    expect(errorCode).toBeNull();
    expect(attributes).toEqual({
      "gen_ai.operation.name": "text_completion",
      "gen_ai.provider.name": "noodlecore",
      "gen_ai.request.model": "tiny.gguf",
      "gen_ai.request.max_tokens": 3,
      "gen_ai.request.temperature": 0.5,
      "gen_ai.request.seed": 7,
      "gen_ai.response.id": "r1",
      "gen_ai.response.model": "tiny.gguf",
      "gen_ai.response.finish_reasons": ["length"],
      "gen_ai.response.time_to_first_chunk": 1.5,
      "gen_ai.usage.input_tokens": 16,
      "gen_ai.usage.output_tokens": 3,
      "noodle.sampled_steps": 0,
    });
  });

  test("end where the request failed", () => {
    const failed = makeRequestEnd({ firstTokenMonoNs: null, finishReason: null, errorCode: "PEER_DEAD" });
    const root = planRequestSpans(FACTS, failed, []);
    expect(root.errorCode).toBe("PEER_DEAD");
    expect(root.attributes).toMatchObject({ "error.type": "PEER_DEAD" });
    expect(root.attributes).not.toHaveProperty("gen_ai.response.finish_reasons");
    expect(root.children.map(({ name, endMonoNs }) => [name, endMonoNs / MS])).toEqual([
      ["noodle.queue", 500],
      ["noodle.prefill", 2000],
    ]);
    const refused = planRequestSpans(FACTS, { ...failed, firstStepMonoNs: null, errorCode: null }, []);
    expect(refused.errorCode).toBe("INTERRUPTED");
    expect(refused.children.map(({ name }) => name)).toEqual(["noodle.queue"]);
  });

  test("have sampled steps below their phase and stages below their step", () => {
    const plan = makePlan();
    const record = makeStep({
      stages: [
        makeStageStep(0, { queueNs: MS }),
        makeStageStep(1, { hopNs: null, computeNs: 6 * MS, serializeNs: MS }),
      ],
    });
    const prefill = makeStep({ phase: "prefill", rows: 16, receivedMonoNs: 1000 * MS + 10 * MS });
    const root = planRequestSpans(FACTS, makeRequestEnd(), [
      { record: prefill, plan },
      { record, plan },
    ]);
    expect(child(root, "noodle.prefill")?.children[0]).toMatchObject({ endMonoNs: 1000 * MS + 10 * MS });
    const step = child(child(root, "noodle.decode"), "noodle.step");
    expect(step?.attributes).toEqual({
      "noodle.step_id": 1,
      "noodle.epoch": 1,
      "noodle.rows": 1,
      "noodle.context_tokens": 17,
    });
    const places = step?.children.map(({ startMonoNs, endMonoNs }) => [startMonoNs / MS - 1000, endMonoNs / MS - 1000]);
    expect(places).toEqual([
      [1, 4],
      [4, 11],
    ]);
    expect(step?.children[0]?.attributes).toEqual({
      "noodle.stage": 0,
      "noodle.node": "node-0",
      "noodle.units": "0:3",
      "noodle.queue_ms": 1,
      "noodle.compute_ms": 2,
      "noodle.serialize_ms": 0,
      "noodle.hop_ms": 1,
      "noodle.bytes_in": 100,
      "noodle.placement": "estimated",
    });
    expect(step?.children[1]?.attributes).not.toHaveProperty("noodle.hop_ms");
  });

  test("name no units of another plan than the step's", () => {
    const root = planRequestSpans(FACTS, makeRequestEnd(), [{ record: makeStep({ epoch: 2 }), plan: makePlan(1) }]);
    const stage = child(child(root, "noodle.decode"), "noodle.step")?.children[0];
    expect(stage?.attributes).not.toHaveProperty("noodle.units");
  });
});
